# SPDX-License-Identifier: Apache-2.0
"""The shipped four-camera recording: complete, small, and its geometry agrees with itself."""

import sys
from pathlib import Path

import numpy as np
import pytest

from da3_ros.estimation.scale.rig import triangulate_rig

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def rig():
    pytest.importorskip("rosbags")
    sys.path.insert(0, str(ROOT / "tools" / "demo"))
    try:
        import scenarios
    finally:
        sys.path.pop(0)
    return scenarios.four_cameras()


def test_it_is_small():
    files = (ROOT / "test" / "data" / "four_cameras").rglob("*")
    assert sum(f.stat().st_size for f in files if f.is_file()) < 3e6


def test_it_is_complete(rig):
    assert set(rig.cameras) == set(rig.poses) == {"cam_0", "cam_1", "cam_2", "cam_3"}
    assert len(rig.frames) == 20
    for images, truth in zip(rig.frames, rig.truth, strict=True):
        assert {i.shape for i in images.values()} == {(240, 320, 3)}
        assert set(truth) == set(images)
        for t in truth.values():
            assert t.depth.shape == (t.camera.height, t.camera.width) == (120, 160)
            assert np.isfinite(t.depth).mean() > 0.8


def test_triangulated_matches_agree_with_the_true_depth(rig):
    """Calibration, poses and depth belong together: images alone give the depth that the recording states."""
    names = list(rig.cameras)
    images, truth = rig.frames[10], rig.truth[10]
    sparse = triangulate_rig([images[n] for n in names], [rig.cameras[n] for n in names], [rig.poses[n] for n in names])
    for name, points in zip(names, sparse, strict=True):
        u, v = np.rint((points.pixels + 0.5) / 2 - 0.5).astype(int).T
        expected = truth[name].depth[np.clip(v, 0, 119), np.clip(u, 0, 159)]
        assert len(u) > 20, name
        assert np.nanmedian(np.abs(points.depth / expected - 1)) < 0.05, name
