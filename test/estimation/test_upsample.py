# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from known_depth import make

from da3_ros.estimation import ViewSet
from da3_ros.estimation.upsample import upsample_confidence, upsample_depth


def scene(size):
    """A grey box at 1 m before a white slanted wall at 3 to 4 m."""
    h, w = size
    v, u = np.mgrid[:h, :w]
    x, y = (u + 0.5) / w, (v + 0.5) / h
    box = (np.abs(x - 0.5) < 0.231) & (np.abs(y - 0.5) < 0.231)
    depth = np.where(box, 1.0, 3 + x).astype(np.float32)
    return depth, np.where(box, 90, 250).astype(np.uint8)[..., None].repeat(3, 2), box


def test_surfaces_are_smooth_and_edges_follow_the_image():
    small, guide, _ = scene((42, 56))
    truth, image, box = scene((240, 320))
    found = upsample_depth(small, image, guide)
    assert found.shape == truth.shape
    assert found.dtype == np.float32
    between = (found > 1.05) & (found < 2.9)
    assert not between.any()  # nothing hangs between the box and the wall
    wrong = (found < 2) != box
    assert wrong.mean() < 0.002
    wall = ~box & (np.arange(320) > 8) & (np.arange(320) < 312)
    assert np.abs(found - truth)[wall].max() < 0.02
    plain = np.repeat(np.repeat(small, 6, 0), 6, 1)[:240, :320]
    assert np.abs(found - truth).mean() < 0.2 * np.abs(plain - truth).mean()


def test_what_is_not_finite_does_not_spread():
    small, guide, _ = scene((42, 56))
    _, image, _ = scene((240, 320))
    small[:10], small[-4:, :4] = np.inf, np.nan
    found = upsample_depth(small, image, guide)
    assert np.isposinf(found[:50]).all()
    assert np.isfinite(found[70:200]).all()
    assert np.isnan(found[-10, 5])


def test_the_same_size_stays_as_it_is():
    small, guide, _ = scene((42, 56))
    assert upsample_depth(small, guide, guide) is small
    assert upsample_confidence(small, 84, 112).shape == (84, 112)


@pytest.mark.parametrize("full", [False, True])
def test_full_resolution_takes_effect(rig, full):
    view = make(rig, full_resolution=full)(ViewSet(rig.views)).views[0]
    expected = rig.views[0].image.shape[:2] if full else (196, 252)
    assert view.depth.shape == view.confidence.shape == view.image.shape[:2] == expected
    assert (view.camera.height, view.camera.width) == expected
    truth = rig.depths[0]
    if full:
        assert np.median(np.abs(view.depth / truth - 1)) < 0.01
        assert view.camera == rig.views[0].straight_camera()
