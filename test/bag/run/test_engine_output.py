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
from da3_ros.messages import decode_depth

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
