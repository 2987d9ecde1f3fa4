# SPDX-License-Identifier: Apache-2.0
"""Several view sets in one call of an engine, by arithmetic; with real graphs in `test/export/test_scenes.py`."""

from dataclasses import replace

import numpy as np
import pytest

from da3_ros.engines import EngineError, EngineInfo, RawEstimate
from da3_ros.engines.scenes import Scene, check_scenes, run_scenes

INFO = EngineInfo("net", "onnxruntime 1 CPU", takes_poses=True, patch=14, sha256="")
SINGLE = replace(INFO, single_view=True)


class MeanEngine:
    """Depth is the mean of each image; notes how many images each call has."""

    def __init__(self, info):
        self.info, self.calls = info, []

    def run(self, images, extrinsics=None, intrinsics=None, known=None):
        self.calls.append(len(images))
        depth = images.mean(axis=3).astype(np.float32) + 1
        return RawEstimate.from_outputs({"depth": depth, "sky": depth / 300})

    def run_scenes(self, images, extrinsics=None, intrinsics=None, known=None):
        cameras = None if extrinsics is None else extrinsics.shape
        self.calls.append((images.shape[:2], cameras, known))
        return [self.run(scene) for scene in images]


def scenes(count, views=2, known=False):
    rng = np.random.default_rng(0)
    cameras = (np.tile(np.eye(4, dtype=np.float32), (views, 1, 1)), np.ones((views, 3, 3), np.float32))
    return [
        Scene(rng.integers(0, 256, (views, 14, 28, 3), dtype=np.uint8), *(cameras if known else ()))
        for _ in range(count)
    ]


def test_images_that_are_looked_at_alone_go_together():
    engine, sets = MeanEngine(SINGLE), scenes(3)
    found = run_scenes(engine, sets)
    assert engine.calls == [6]
    for ours, scene in zip(found, sets, strict=True):
        alone = engine.run(scene.images)
        for name in ("depth", "confidence", "extrinsics", "intrinsics", "sky"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(alone, name))
        assert ours.rays is None


def test_fewer_sets_than_plans_are_for_go_one_by_one():
    engine = MeanEngine(replace(SINGLE, views=(2, 6)))
    run_scenes(engine, scenes(3))
    run_scenes(engine, scenes(2))
    assert engine.calls == [6, 2, 2]


@pytest.mark.parametrize("known", [False, True])
def test_graphs_for_scenes_get_all_of_them_and_their_cameras(known):
    engine = MeanEngine(replace(INFO, scenes=True))
    run_scenes(engine, scenes(3, known=known))
    assert engine.calls[0] == ((3, 2), (3, 2, 4, 4) if known else None, None)
    run_scenes(engine, scenes(1))
    assert engine.calls[-1] == 2  # one alone needs no such graph


def test_which_cameras_are_known_goes_with_them():
    engine, masks = MeanEngine(replace(INFO, scenes=True)), np.array([[True, False], [True, True]])
    run_scenes(engine, [scene._replace(known=mask) for scene, mask in zip(scenes(2, known=True), masks, strict=True)])
    np.testing.assert_array_equal(engine.calls[0][2], masks)
    with pytest.raises(EngineError, match="different shapes"):
        run_scenes(engine, [*scenes(1, known=True), scenes(1, known=True)[0]._replace(known=masks[0])])


def test_sets_of_different_shapes_are_refused():
    with pytest.raises(EngineError, match="different shapes"):
        run_scenes(MeanEngine(SINGLE), [*scenes(1), *scenes(1, views=3)])


def test_what_cannot_be_is_said_with_the_command_that_helps():
    check_scenes(replace(INFO, scenes=True), 4, 3)
    check_scenes(SINGLE, 4, 3)
    check_scenes(replace(SINGLE, views=(3, 12)), 4, 3)
    with pytest.raises(EngineError, match="one view set at a time: `da3 export net --scenes`"):
        check_scenes(INFO, 4, 3)
    with pytest.raises(EngineError, match="DA3_ENGINE=onnxruntime does without them"):
        check_scenes(replace(INFO, backend="TensorRT 10.3 fp16 Orin"), 4, 3)
    with pytest.raises(EngineError, match=r"are for 1, 3 images.*`da3 build net --views 3 12`"):
        check_scenes(replace(SINGLE, views=(1, 3)), 4, 3)
