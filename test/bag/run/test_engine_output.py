# SPDX-License-Identifier: Apache-2.0
"""A run whose engine says what cannot be: the summary, its exit code and the other sets of a batch."""

from needs import needs

needs("mcap", "rosbags", "scipy")

from dataclasses import replace

import bags
import numpy as np
import pytest
from known_depth import RECORD
from wrong_depth import events, wall
from wrong_engine import WrongEngine, estimator_of, pixels

from da3_ros.bag.errors import BagError
from da3_ros.bag.plan.outcome import has_errors, lost_frames
from da3_ros.estimation import Estimator
from da3_ros.geometry import CameraModel
from da3_ros.messages import decode_depth, encode_camera_info, encode_rgb

SETS = 3
GIVEN = ("scale.source:=given", "cloud.rate:=0")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    scene = wall()
    return scene, bags.write_bag(tmp_path_factory.mktemp("wall") / "rig", bags.serialised(events(scene, SETS)))


def test_few_bad_pixels_are_in_the_summary_and_in_its_outcome(recording, make):
    scene, bag = recording
    output, summary = make(bag, *GIVEN, load=estimator_of(scene, pixels(0.02, np.inf)))
    found = {(issue["camera"], issue["kind"]): issue for issue in summary["issues"]}
    assert found["left", "engine output"]["count"] == SETS
    assert "% of its pixels" in found["left", "engine output"]["text"]
    assert has_errors(summary)
    assert not lost_frames(summary)
    _, depth = bags.read(output, "/da3/left/depth/image_rect")[0]
    assert np.isnan(decode_depth(depth)).mean() == pytest.approx(0.02, abs=0.006)
    assert not has_errors(make(bag, *GIVEN, load=scene.estimator, name="sound")[1])


def test_a_run_without_one_depth_in_range_is_no_success(recording, make):
    """As a reference in millimetres makes it: every pixel is +Inf."""
    scene, bag = recording
    _, summary = make(bag, *GIVEN, "scale.value:=3000.0", load=scene.estimator)
    (issue,) = [issue for issue in summary["issues"] if issue["kind"] == "range"]
    assert "not one depth can be used: at 3000 m a unit (scale from given) 100% of the pixels lie" in issue["text"]
    assert issue["count"] == SETS
    assert has_errors(summary)


class TwoAtOnce(WrongEngine):
    """Takes several sets at once; spoils the second set alone."""

    def run_scenes(self, images, *arguments):
        answers = [self._engine.run(scene) for scene in images]
        return [self._spoil(raw) if i == 1 else raw for i, raw in enumerate(answers)]


def test_one_bad_set_of_a_batch_is_refused_alone(recording, make):
    scene, bag = recording

    def load(model, config):
        del model
        config = replace(config, condition_on_poses=False)
        return Estimator(TwoAtOnce(scene.engine(), pixels(0.5, np.nan), scenes=True), RECORD, config)

    _, summary = make(bag, *GIVEN, load=load, batch=SETS)
    assert len(summary["sets"]) == SETS - 1
    assert lost_frames(summary) == {"engine": 2}
    assert summary["frames"]["left"] == {"received": SETS, "used": SETS - 1, "dropped": {"engine": 1}}
    (issue,) = [i for i in summary["issues"] if i["kind"] == "engine"]
    assert "--precision fp32" in issue["text"]


def test_chunks_tell_it_too(recording, make):
    scene, bag = recording

    def load(spoil):
        def loaded(model, config):
            engine = scene.engine()
            engine.depths, engine.poses = engine.depths * SETS, np.tile(engine.poses, (SETS, 1, 1))
            del model
            return Estimator(WrongEngine(engine, spoil), RECORD, config)

        return loaded

    options = {"chunk": 2, "overlap": 1, "outputs": ("depth", "depth/camera_info", "confidence")}
    options["outputs"] = ("*/depth/image_rect", "*/confidence/image", "*/depth/stddev")
    output, summary = make(bag, *GIVEN, "depth.resolution:=camera", load=load(pixels(0.02, np.nan)), **options)
    found = [issue for issue in summary["issues"] if issue["kind"] == "engine output"]
    assert {issue["camera"] for issue in found} == {"left", "right"}
    assert has_errors(summary)
    for _, message in bags.read(output, "/da3/left/depth/image_rect"):
        depth = decode_depth(message)
        assert not np.isinf(depth).any()
        assert np.isnan(depth).mean() == pytest.approx(0.02, abs=0.006)
    with pytest.raises(BagError, match="--precision fp32"):
        make(bag, *GIVEN, load=load(pixels(0.3, np.nan)), name="worse", **options)


class Strip:
    """The wall with one camera whose images are as narrow as lines."""

    def __init__(self, size):
        self.scene, self.size = wall(), size
        self.camera = CameraModel.pinhole(size[1], size[0], 100.0, 100.0, size[1] / 2, size[0] / 2)

    def events(self):
        for topic, log_ns, message in events(self.scene, SETS):
            if topic == "/left/image_raw":
                yield topic, log_ns, encode_rgb(bags.TYPES, np.zeros((*self.size, 3), np.uint8), message.header)
            elif topic == "/left/camera_info":
                yield topic, log_ns, encode_camera_info(bags.TYPES, self.camera, message.header)
            else:
                yield topic, log_ns, message


@pytest.mark.parametrize("size", [(1, 640), (480, 1), (10, 2000), (2, 2)])
@pytest.mark.parametrize("chunk", [0, 2])
def test_a_camera_of_an_extreme_shape_costs_its_own_depth_alone(tmp_path, make, size, chunk):
    strip = Strip(size)

    def load(model, config):
        engine = strip.scene.engine()
        engine.depths, engine.poses = engine.depths * SETS, np.tile(engine.poses, (SETS, 1, 1))
        return Estimator(engine, RECORD, config)

    bag = bags.write_bag(tmp_path / "odd", bags.serialised(strip.events()))
    parameters = (*GIVEN, "inference.size:=112", "odometry.publish_tf:=true")
    output, summary = make(bag, *parameters, load=load, chunk=chunk, overlap=chunk // 2)
    assert summary["frames"]["right"] == {"received": SETS, "used": SETS, "dropped": {}}
    (issue,) = [issue for issue in summary["issues"] if issue["kind"] == "engine output"]
    assert issue["camera"] == "left"
    assert f"an image of {size[1]}x{size[0]} pixels is too small or too narrow" in issue["text"]
    assert has_errors(summary)
    assert np.isnan(decode_depth(bags.read(output, "/da3/left/depth/image_rect")[0][1])).all()
    right = decode_depth(bags.read(output, "/da3/right/depth/image_rect")[0][1])
    assert right.shape == (84, 112)
    assert np.isfinite(right).mean() > 0.9
