# SPDX-License-Identifier: Apache-2.0
"""Each parameter of the node changes what comes out of the bag tool, or of the live node where it is of that alone.

Not what was parsed, but what was made of it: a value that is read and reaches nobody fails here.
"""

from needs import needs

needs("mcap", "rosbags", "scipy")

import dataclasses
from functools import lru_cache

import cv2
import numpy as np
import pytest
from bags import PERIOD, POSES, START, STORE, TYPES, messages
from field_bags import COMPRESSED, IMAGE, INFO, TF, image, packed, transforms, write
from known_depth import RECORD, KnownDepthEngine
from wrong_depth import CAMERA, LIDAR, NAMES, wall

from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.estimation import Estimator
from da3_ros.geometry.poses import from_rotation_translation
from da3_ros.messages import decode_cloud, decode_depth, encode_camera_info
from da3_ros.stream.parameters import SPECS, camera_specs

ODOMETRY = "nav_msgs/msg/Odometry"
FRAMES, FEW = 5, 2
SHORT = {"short", "above", "bumped"}
"""Kinds of recordings of few sets, for parameters that each set shows by itself and whose sets take long."""
MS = 1_000_000
UP = POSES["left"][:3, :3]
"""Rotation of a camera that looks along x of the rig, which the ground lies below."""
LIVE = {
    "autostart", "input_qos", "input_qos_depth", "output_qos", "output_qos_depth", "diagnostics.period",
    "diagnostics.max_latency", "viewer.mode", "viewer.address", "viewer.rate", "viewer.size",
}  # fmt: skip
"""Of the live node: test/node/test_parameters.py, test/node/test_viewing.py."""


class Engine(KnownDepthEngine):
    """Sees the wall, with a box before it, in a unit that grows with every set; any number of views."""

    def run(self, images, extrinsics=None, intrinsics=None, known=None):
        count = len(images)
        full = dataclasses.replace(
            self, depths=[self.depths[i % 2] for i in range(count)], poses=self.poses[np.arange(count) % 2], calls=[]
        )
        raw = KnownDepthEngine.run(full, images, extrinsics, intrinsics, known)
        self.calls.append({"views": count, "given": extrinsics is not None})
        factor = np.float32(1 + 0.08 * (len(self.calls) - 1))
        depth = raw.depth * factor
        depth[:, : depth.shape[1] // 4, : depth.shape[2] // 4] *= 0.6
        return dataclasses.replace(raw, depth=depth)


def events(kind):
    """A rig that drives, with everything that a parameter can ask for. kind: what is special about it."""
    scene = wall("above" if kind == "above" else "beside")
    places = {
        name: from_rotation_translation(UP @ pose[:3, :3], UP @ pose[:3, 3]) for name, pose in scene.poses.items()
    }
    lidar = from_rotation_translation(UP @ LIDAR[:3, :3], UP @ LIDAR[:3, 3])
    if kind == "bumped":
        rolled = cv2.Rodrigues(np.array([0, 0, np.radians(4.0)]))[0]
        places["right"] = from_rotation_translation(places["right"][:3, :3] @ rolled, places["right"][:3, 3])
    frames = {f"{name}_optical": pose for name, pose in places.items()} | {
        "lidar": lidar,
        "other_optical": places["left"],
    }
    yield (
        "/tf_static",
        START,
        TF,
        transforms(
            [*(("base_link", child, pose) for child, pose in frames.items()), ("base_link", "tower", np.eye(4))]
        ),
    )
    for index in range(FEW if kind in SHORT else FRAMES):
        stamp = START + index * PERIOD
        moved = np.eye(4)
        moved[0, 3] = 0.1 * index
        yield "/tf", stamp, TF, transforms([("odom", "base_link", moved)], stamp)
        if kind != "few points" or index == 0:
            for topic in ("/da3/scale/points", "/other/points"):
                cloud = scene.cloud(stamp + 10 * MS)
                if topic == "/other/points":
                    cloud.header.frame_id = "tower"
                yield topic, stamp, "sensor_msgs/msg/PointCloud2", cloud
        for order, name in enumerate(NAMES):
            at = stamp + order * MS
            if name == "right" and kind not in SHORT and (index == 1 or (kind == "silent" and index > 1)):
                continue
            info, picture = scene.messages(name, index, at)
            info.p = np.array([1.1, 1, 1, 1, 1, 1.1, 1, 1, 1, 1, 1, 1]) * info.p
            yield f"/{name}/camera_info", at, INFO, info
            yield f"/{name}/image_raw", at, IMAGE, picture
        if index < 2:
            data = cv2.imencode(".png", scene.image("left", index)[..., ::-1])[1].tobytes()
            yield (
                "/left/image_raw/compressed",
                stamp,
                COMPRESSED,
                packed("left_optical", data, "rgb8; png compressed bgr8", stamp),
            )
            yield "/left/other", stamp, IMAGE, scene.messages("left", index, stamp)[1]
        narrow = encode_camera_info(TYPES, dataclasses.replace(CAMERA, fx=400.0), TYPES.header(stamp, "left_optical"))
        yield "/left/other_info", stamp, INFO, narrow
        for space, scale in (("/da3/scale", 1.0), ("/third", 2.0)):
            depth = (scale * scene.depths["left"]).astype(np.float32)
            yield f"{space}/depth", stamp, IMAGE, image("left_optical", depth, "32FC1", stamp + 10 * MS)
            camera = dataclasses.replace(CAMERA, fx=CAMERA.fx * scale)
            yield (
                f"{space}/camera_info",
                stamp,
                INFO,
                encode_camera_info(TYPES, camera, TYPES.header(stamp, "left_optical")),
            )


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    """Runs the bag tool: (kind of recording, *assignments) -> outcome; the same twice is done once."""
    folder = tmp_path_factory.mktemp("parameters")

    @lru_cache
    def source(kind):
        return write(folder / "in" / kind.replace(" ", "_"), list(events(kind)))

    @lru_cache
    def run(kind, assignments):
        engines = []

        def load(model, config):
            scene = wall("above" if kind == "above" else "beside")
            poses = np.stack([scene.poses[name] for name in NAMES])
            engines.append(Engine([scene.wrong[name] for name in NAMES], poses, takes_poses=True, mixes=True))
            return Estimator(engines[-1], dataclasses.replace(RECORD, name=model), config)

        output = folder / f"out_{run.cache_info().misses}"
        # Following the motion takes longer than all the rest.
        outputs = ("*",) if any(text.startswith("odometry.") for text in assignments) else ("*", "!/da3/odometry")
        request = Request(source(kind), output, assignments=assignments, options=Options(outputs=outputs, pictures=0))
        return Outcome(output, reprocess(request, load=load), engines[0])

    def outcome(kind, **values):
        base = {"cameras": "[left, right]", "inference.size": 84, "refinement.source": "none", "cloud.rate": 0.0,
                "scale.source": "given", "diagnostics.rig_check_period": 0.0, **values}  # fmt: skip
        return run(kind, tuple(f"{name}:={value}" for name, value in sorted(base.items())))

    return outcome


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came out of a run."""

    output: object
    summary: dict
    engine: Engine

    def read(self, topic, kind):
        return [STORE.deserialize_cdr(raw, kind) for _, _, raw in messages(self.output, topic)]

    def depth(self, index=-1, name="left"):
        return decode_depth(self.read(f"/da3/{name}/depth/image_rect", IMAGE)[index])

    def scales(self):
        return [record["scale"]["metres_per_unit"] for record in self.summary["sets"]]

    def metric(self):
        return [record["scale"]["metric"] for record in self.summary["sets"]]

    def sources(self):
        return [view["pose_source"] for record in self.summary["sets"] for view in record["views"]]

    def used(self, name="left"):
        return self.summary["frames"][name]["used"]

    def focal(self):
        return self.read("/da3/left/depth/camera_info", INFO)[0].k[0]

    def cloud(self, topic="/da3/points"):
        return self.read(topic, "sensor_msgs/msg/PointCloud2")

    def points(self):
        return [len(decode_cloud(message)["x"].ravel()) for message in self.cloud()]

    def frame(self, topic="/da3/left/depth/image_rect", kind=IMAGE):
        return self.read(topic, kind)[-1].header.frame_id

    def children(self):
        found = self.read("/tf", TF)
        return {(t.header.frame_id, t.child_frame_id) for message in found for t in message.transforms}

    def rig(self):
        return [issue["camera"] for issue in self.summary["issues"] if issue["kind"].startswith("rig ")]

    def share(self, test):
        return float(np.mean(test(self.raw())))

    def raw(self):
        message = self.read("/da3/left/depth/image_rect", IMAGE)[-1]
        return np.frombuffer(message.data, np.float32)


REFERENCE = {"scale.source": "reference", "scale.smoothing": 0.0, "scale.max_jump": 9.0}
STEADY = {"scale.source": "reference", "scale.max_jump": 0.05, "scale.fit": "scale"}
NO_REFERENCE = {"scale.points_topic": "/none", "scale.depth_topic": "/none"}
NO_MATCHES = {"pose.source": "network"}
"""Where poses are not what counts: matching takes longer than all else."""
LOST = {"rig_frame": "nowhere", "scale.source": "given"}
REFINED = {"inference.size": 252, "refinement.source": "views", "scale.source": "rig"}
# name: (recording, values of both runs, value of the second run, what is looked at); the first one has the default.
CASES = {
    "model": ("all", {}, "da3-other", lambda o: o.summary["job"]["engine"]["model"]),
    "cameras": ("all", {}, "[left]", lambda o: sorted(o.summary["frames"])),
    "sync.policy": ("all", {}, "exact", lambda o: o.used("right")),
    "sync.max_skew": ("all", {}, 0.0005, lambda o: o.used("right")),
    "sync.allow_missing": ("all", {}, "true", lambda o: o.used()),
    "sync.window": ("all", NO_MATCHES, 1, lambda o: [call["views"] for call in o.engine.calls]),
    "sync.window_spacing": ("all", {"sync.window": 2, **NO_MATCHES}, 0.25,
                            lambda o: [call["views"] for call in o.engine.calls]),
    "scale.source": ("all", {}, "none", lambda o: o.metric()),
    "scale.value": ("all", {}, 3.0, lambda o: round(float(np.nanmedian(o.depth())), 3)),
    "scale.camera_height": ("all", {"scale.source": "auto", "rig_frame": "nowhere", **NO_REFERENCE, **NO_MATCHES}, 1.5,
                            lambda o: o.summary["sets"][-1]["scale"]["message"]),
    "scale.fit": ("all", REFERENCE, "scale_shift", lambda o: o.summary["sets"][-1]["scale"]["shift_m"]),
    "scale.period": ("all", REFERENCE, 100.0, lambda o: len({round(s, 4) for s in o.scales()})),
    "scale.smoothing": ("all", {"scale.source": "reference"}, 100.0, lambda o: o.scales()[-1]),
    "scale.hold": ("few points", {"scale.source": "reference", "scale.depth_topic": "/none", "scale.max_age": 0.05}, 0,
                   Outcome.metric),
    "scale.max_jump": ("all", {"scale.source": "reference", "scale.smoothing": 0.0}, 0.001, lambda o: o.scales()[1]),
    "scale.confirm": ("all", {**STEADY, "scale.smoothing": 0.0}, 1, lambda o: o.scales()[1]),
    "scale.min_matches": ("all", REFERENCE, 1000000, lambda o: o.metric()),
    "scale.points_topic": ("all", {**REFERENCE, "scale.depth_topic": "/none"}, "/other/points", lambda o: o.scales()),
    "scale.depth_topic": ("all", {**REFERENCE, "scale.points_topic": "/none"}, "/third/depth", Outcome.scales),
    "scale.depth_info_topic": ("all", {**REFERENCE, "scale.points_topic": "/none"}, "/third/camera_info",
                               Outcome.scales),
    "scale.max_age": ("all", REFERENCE, 0.001, lambda o: o.metric()),
    "pose.source": ("short", LOST, "network", lambda o: o.sources()),
    "pose.min_matches": ("short", LOST, 1000000, lambda o: o.sources()),
    "refinement.source": ("short", REFINED, "none", lambda o: o.depth()),
    "refinement.size": ("short", REFINED, 64, lambda o: o.depth()),
    "refinement.hypotheses": ("above", REFINED, 8, lambda o: o.depth()),
    "refinement.reach": ("short", REFINED, 0.05, lambda o: o.depth()),
    "refinement.held_back": ("short", {**REFINED, "refinement.source": "measured"}, 0.5,
                             lambda o: o.summary["refinement"]["left"]["before"]),
    "inference.size": ("all", {}, 140, lambda o: o.depth().shape),
    "inference.condition_on_poses": ("all", {}, "never", lambda o: [call["given"] for call in o.engine.calls]),
    "min_range": ("all", {}, 2.0, lambda o: o.share(np.isneginf)),
    "max_range": ("all", {}, 2.0, lambda o: o.share(np.isposinf)),
    "min_confidence": ("all", {}, 1.5, lambda o: o.share(np.isnan)),
    "rig_frame": ("all", {}, "odom", lambda o: o.summary["sets"][-1]["world"]),
    "odometry_frame": ("all", {}, "odom", lambda o: o.sources()),
    "fused_frame": ("all", {}, "odom", lambda o: o.frame("/da3/points", "sensor_msgs/msg/PointCloud2")),
    "cloud.voxel_size": ("all", {}, 0.3, lambda o: o.points()[0]),
    "cloud.rate": ("all", {}, 2.0, lambda o: len(o.points())),
    "cloud.filter_edges": ("all", {"cloud.voxel_size": 0.0}, "false", lambda o: o.points()[0]),
    "cloud.min_confidence": ("all", {"cloud.voxel_size": 0.0}, 1.5, lambda o: o.points()[0]),
    "cloud.max_stddev": ("short", {**REFINED, "cloud.voxel_size": 0.0}, 0.02, lambda o: o.points()[0]),
    "cloud.max_range": ("all", {"cloud.voxel_size": 0.0}, 2.0, lambda o: o.points()[0]),
    "depth.millimetres": ("all", {}, "true", lambda o: "/da3/left/depth/image_raw" in o.summary["messages"]),
    "depth.resolution": ("all", {}, "camera", lambda o: o.depth().shape),
    "relative_suffix": ("all", {"scale.source": "none"}, "_unit", lambda o: o.frame()),
    "publish_tf": ("all", {}, "true", lambda o: ("base_link", "da3_left_optical") in o.children()),
    "tf.prefix": ("all", {"publish_tf": "true"}, "est_", lambda o: ("base_link", "est_left_optical") in o.children()),
    "odometry.frame": ("short", {"odometry.publish_tf": "true"}, "vo", lambda o: o.frame("/da3/odometry", ODOMETRY)),
    "odometry.publish_tf": ("short", {}, "true", lambda o: ("da3_odom", "base_link") in o.children()),
    "diagnostics.rig_check_period": ("bumped", {"inference.size": 252}, 0.1, Outcome.rig),
    "diagnostics.rig_tolerance": ("bumped", {"inference.size": 252, "diagnostics.rig_check_period": 0.1}, 30.0,
                                  Outcome.rig),
    "watchdog.timeout": ("silent", {}, 0.15, lambda o: o.used()),
    "left.image_topic": ("all", {}, "/left/other", lambda o: o.summary["frames"]["left"]["received"]),
    "left.camera_info_topic": ("all", {}, "/left/other_info", Outcome.focal),
    "left.transport": ("all", {}, "compressed", lambda o: o.summary["frames"]["left"]["received"]),
    "left.frame_id": ("all", {}, "other_optical", lambda o: o.frame()),
    "left.rectified": ("all", {}, "true", Outcome.focal),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_another_value_makes_another_output(tool, name):
    kind, values, changed, look = CASES[name]
    usual, other = look(tool(kind, **values)), look(tool(kind, **{**values, name: changed}))
    if isinstance(usual, np.ndarray):
        usual, other = np.nan_to_num(usual), np.nan_to_num(other)
        assert usual.shape == other.shape
        assert np.median(np.abs(usual - other)) > 1e-5
    else:
        assert usual != other


def test_no_parameter_is_left_out():
    known = {spec.name for spec in (*SPECS, *camera_specs("left"))}
    assert set(CASES) | LIVE | {"inference.threads"} == known


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_of_the_engine(tmp_path, threads):
    engines = []

    def load(model, config):
        engines.append(Estimator.from_model("da3-nano", config))
        return engines[-1]

    source = write(tmp_path / "in" / "bag", list(events("short")))
    values = ("cameras:=[left]", "inference.size:=84", f"inference.threads:={threads}")
    reprocess(Request(source, tmp_path / "out", assignments=values, options=Options(pictures=0)), load=load)
    session = engines[0].engine._graphs["unposed.onnx"].session
    assert session.get_session_options().intra_op_num_threads == threads
