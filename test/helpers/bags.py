# SPDX-License-Identifier: Apache-2.0
"""Small recordings for tests: a calibrated rig that moves, written with rosbags."""

import os
from pathlib import Path

import cv2
import numpy as np
import yaml
from fake_estimator import CAMERA, FakeEstimator
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from da3_ros.bag.io.qos import LATCHED, recorded
from da3_ros.messages import MessageTypes, encode_camera_info, encode_rgb, encode_transform
from da3_ros.stream.outputs import Qos

STORE = get_typestore(Stores.ROS2_KILTED)
TYPES = MessageTypes(lambda name: STORE.types[name])
W, H = CAMERA.width, CAMERA.height
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
START, PERIOD = 1_700_000_000_000_000_000, 100_000_000
SENSOR = recorded(Qos(5, "SENSOR_DATA"))
POSES = {
    "left": np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0.1], [0, -1, 0, 0.5], [0, 0, 0, 1]]),
    "right": np.array([[0.0, 0, 1, 0], [-1, 0, 0, -0.1], [0, -1, 0, 0.5], [0, 0, 0, 1]]),
}
KINDS = {
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/notes": "std_msgs/msg/String",
    **{f"/{c}/image_raw": "sensor_msgs/msg/Image" for c in POSES},
    **{f"/{c}/camera_info": "sensor_msgs/msg/CameraInfo" for c in POSES},
}


def picture(index, camera):
    """Noise that tells frames apart."""
    rng = np.random.default_rng([index, len(camera)])
    return rng.integers(0, 255, (H, W, 3), np.uint8)


def events(frames=6, *, cameras=("left", "right"), tf_rate=2, start=START):
    """(topic, log time, message) of a rig that drives along x at 1 m/s, in order."""
    pairs = [("base_link", f"{name}_optical", POSES[name]) for name in cameras]
    static = [encode_transform(TYPES, pose, TYPES.header(start, parent), child) for parent, child, pose in pairs]
    yield "/tf_static", start, TYPES["tf2_msgs/msg/TFMessage"](transforms=static)
    for index in range(frames):
        stamp = start + index * PERIOD
        for part in range(tf_rate):
            now = stamp + part * PERIOD // tf_rate
            moved = np.eye(4)
            moved[0, 3] = (now - start) / 1e9
            transform = encode_transform(TYPES, moved, TYPES.header(now, "odom"), "base_link")
            yield "/tf", now, TYPES["tf2_msgs/msg/TFMessage"](transforms=[transform])
        for order, name in enumerate(cameras):
            header = TYPES.header(stamp + order * 1_000_000, f"{name}_optical")
            log_ns = stamp + PERIOD // 2 + 1 + order
            yield f"/{name}/camera_info", log_ns, encode_camera_info(TYPES, CAMERA, header)
            yield f"/{name}/image_raw", log_ns, encode_rgb(TYPES, picture(index, name), header)
        yield "/notes", stamp + PERIOD // 2 + 10, TYPES["std_msgs/msg/String"](data=f"note {index}")


def serialised(stream):
    """Events with their bytes in place of the message."""
    for topic, log_ns, message in stream:
        yield topic, log_ns, bytes(STORE.serialize_cdr(message, KINDS[topic]))


def write_bag(path, stream=None, *, storage="mcap", compression=None):
    """A rosbag2 folder of (topic, log time, bytes), sorted by log time; returns its path."""
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compression is not None:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    content = sorted(serialised(events()) if stream is None else stream, key=lambda event: event[1])
    with writer:
        connections = {}
        for topic, log_ns, raw in content:
            if topic not in connections:
                qos = {"/tf_static": (LATCHED,)}.get(topic, (SENSOR,))
                connections[topic] = writer.add_connection(
                    topic, KINDS[topic], typestore=STORE, offered_qos_profiles=qos
                )
            writer.write(connections[topic], log_ns, raw)
    return path


def write_jump(path, frames=3):
    """A recording of so many sets, and three more whose stamps begin half a minute earlier."""
    late = 30_000_000_000
    first = [(t, n - late, m) for t, n, m in events(frames, start=START + late)]
    again = [(t, n + frames * PERIOD, m) for t, n, m in events(3) if t != "/tf_static"]
    return write_bag(path, serialised([*first, *again]))


def write_ros1_bag(path, frames=6):
    """The same as a ROS 1 bag."""
    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage"))
    types = store.types

    def header(h):
        time = types["builtin_interfaces/msg/Time"](h.stamp.sec, h.stamp.nanosec)
        return types["std_msgs/msg/Header"](seq=7, stamp=time, frame_id=h.frame_id)

    def convert(topic, message):
        kind = KINDS[topic]
        if kind == "std_msgs/msg/String":
            return types[kind](data=message.data)
        if kind == "tf2_msgs/msg/TFMessage":
            transforms = [
                types["geometry_msgs/msg/TransformStamped"](header(t.header), t.child_frame_id, t.transform)
                for t in message.transforms
            ]
            return types[kind](transforms=transforms)
        if kind == "sensor_msgs/msg/CameraInfo":
            m = message
            return types[kind](header(m.header), m.height, m.width, m.distortion_model, m.d, m.k, m.r, m.p, 0, 0, m.roi)
        m = message
        return types[kind](header(m.header), m.height, m.width, m.encoding, m.is_bigendian, m.step, m.data)

    with Writer1(path) as writer:
        connections = {}
        for topic, log_ns, message in sorted(events(frames), key=lambda event: event[1]):
            if topic not in connections:
                latching = 1 if topic == "/tf_static" else None
                connections[topic] = writer.add_connection(topic, KINDS[topic], typestore=store, latching=latching)
            raw = store.serialize_ros1(convert(topic, message), KINDS[topic])
            writer.write(connections[topic], log_ns, raw)
    return path


def jpeg(index, camera):
    """The picture as JPEG bytes."""
    return cv2.imencode(".jpg", picture(index, camera))[1].tobytes()


def messages(path, topic=None):
    """(topic, log time, bytes) of a bag, of one topic or of all."""
    return [(name, log_ns, raw) for name, _, log_ns, raw in _content(Path(path)) if topic in (None, name)]


def read(path, topic):
    """Log time and message of a topic of an output."""
    return [
        (log_ns, STORE.deserialize_cdr(raw, kind)) for name, kind, log_ns, raw in _content(Path(path)) if name == topic
    ]


def _content(path):
    """Topic, type, log time and bytes of every message, by log time; those of one time in the order of the files.

    MCAP files are read as they are where the mcap package is there: rosbags takes longer for the metadata than many a
    test for all else. test/bag/run/test_reprocess.py reads outputs by rosbags, and finds the same.
    """
    try:
        from mcap.reader import make_reader
    except ImportError:
        return by_rosbags(path)
    if path.is_file():
        files = [path]
    else:
        information = yaml.load((path / "metadata.yaml").read_text(), _LOADER)["rosbag2_bagfile_information"]
        if information["compression_mode"]:
            return by_rosbags(path)
        files = [path / name for name in information["relative_file_paths"]]
    if any(file.suffix != ".mcap" for file in files):
        return by_rosbags(path)
    found = []
    for file in files:
        with file.open("rb") as stream:
            for schema, channel, message in make_reader(stream).iter_messages():
                found.append((channel.topic, schema.name, message.log_time, message.data))
    return sorted(found, key=lambda entry: entry[2])


def by_rosbags(path):
    """The same, as rosbags reads it."""
    with Reader(Path(path)) as reader:
        return [
            (connection.topic, connection.msgtype, log_ns, bytes(raw)) for connection, log_ns, raw in reader.messages()
        ]


def load_fake(model, config):
    """Stands for Estimator.from_model."""
    return FakeEstimator(model, config)


def load_noting(model, config):
    """The same; notes the threads that it is given in the file that `model` names."""
    with Path(model).open("a") as file:
        file.write(f"{config.threads}\n")
    return FakeEstimator(model, config)


class DyingEstimator(FakeEstimator):
    """Ends its process with the first set."""

    def __call__(self, view_set, *, odometry=False):
        os._exit(7)


class CountingEstimator(FakeEstimator):
    """Depth depends on the images and on every set before: a run that forgets or repeats one shows it."""

    def __init__(self, model, config):
        super().__init__(model, config)
        self.state = 1

    def reset(self):
        self.state = 1

    def memory(self):
        return self.state

    def recall(self, memory):
        self.state = memory

    def __call__(self, view_set, *, odometry=False):
        import dataclasses

        estimate = super().__call__(view_set, odometry=odometry)
        for view in view_set.views:
            self.state = (31 * self.state + int(view.image.sum())) % 1009
        views = tuple(dataclasses.replace(view, depth=view.depth + self.state / 1000) for view in estimate.views)
        return dataclasses.replace(estimate, views=views)


def load_counting(model, config):
    """An estimator with a memory."""
    return CountingEstimator(model, config)


class SeeingEstimator(FakeEstimator):
    """Depth depends on every image that is seen together, and on nothing before."""

    def __call__(self, view_set, *, odometry=False):
        import dataclasses

        estimate = super().__call__(view_set, odometry=odometry)
        code = 0
        for view in view_set.views:
            code = (31 * code + int(view.image.sum()) + view.body) % 1009
        views = tuple(dataclasses.replace(view, depth=view.depth + code / 1000) for view in estimate.views)
        return dataclasses.replace(estimate, views=views)


def load_seeing(model, config):
    """An estimator that shows what it was given."""
    return SeeingEstimator(model, config)


class FailingLater(SeeingEstimator):
    """Fails on what does not begin with the recording."""

    def __call__(self, view_set, *, odometry=False):
        if view_set.views[0].stamp_ns != START:
            raise RuntimeError("not this one")
        return super().__call__(view_set, odometry=odometry)


def load_failing_later(model, config):
    """An estimator that does the first chunk only."""
    return FailingLater(model, config)
