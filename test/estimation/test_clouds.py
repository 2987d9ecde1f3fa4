# SPDX-License-Identifier: Apache-2.0
"""One cloud of several views: what is left out of it."""

from dataclasses import replace

import numpy as np
import pytest

from da3_ros.estimation import PoseEstimate, ViewEstimate
from da3_ros.estimation.clouds import MAX_STDDEV, Cloud, doubt, fuse_views
from da3_ros.estimation.refinement.uncertainty import NETWORK
from da3_ros.geometry import CameraModel
from da3_ros.stream.specs import SPECS

H, W = 6, 8
CAMERA = CameraModel.pinhole(W, H, 10.0, 10.0, 3.5, 2.5)


@pytest.fixture
def view():
    """A slope from 2 to 4 m; what lies in the right half is known to 1 %, the left half to 40 %."""
    depth = np.tile(np.linspace(2, 4, H, dtype=np.float32)[:, None], (1, W))
    stddev = depth * np.where(np.arange(W) < W // 2, np.float32(0.4), np.float32(0.01))
    confidence = np.full((H, W), 2, np.float32)
    pose = PoseEstimate(np.eye(4), "calibrated", np.zeros((6, 6)))
    return ViewEstimate("a", 0, np.zeros((H, W, 3), np.uint8), depth, confidence, CAMERA, pose, stddev)


def fused(*views, **options):
    return fuse_views(views, [np.eye(4)] * len(views), filter_edges=False, **options)


def test_unsure_points_are_left_out(view):
    assert len(fused(view).points) == H * W
    cloud = fused(view, max_stddev=0.3)
    assert len(cloud.points) == H * W // 2
    assert cloud.points[:, 0].min() > 0
    np.testing.assert_allclose(cloud.doubt, 0.01, rtol=1e-5)
    assert len(fused(view, max_stddev=0.5).points) == H * W


def test_views_that_do_not_say_how_sure_they_are_stay(view):
    silent = replace(view, stddev=None)
    cloud = fused(view, silent, max_stddev=0.3)
    assert np.bincount(cloud.view).tolist() == [H * W // 2, H * W]
    assert np.isinf(cloud.doubt[cloud.view == 1]).all()


def test_where_there_is_no_depth_there_is_doubt(view):
    depth, stddev = view.depth.copy(), view.stddev.copy()
    depth[0], stddev[0] = np.inf, np.nan
    share = doubt(replace(view, depth=depth, stddev=stddev))
    assert np.isinf(share[0]).all()
    np.testing.assert_allclose(share[1:, -1], 0.01, rtol=1e-5)


def test_the_node_leaves_out_what_is_worse_than_a_network_alone():
    """A view of which nothing is measured keeps all of its points."""
    assert MAX_STDDEV > 1.2 * NETWORK
    assert {spec.name: spec.default for spec in SPECS}["cloud.max_stddev"] == MAX_STDDEV


def test_the_surest_points_come_first():
    doubt, confidence = (0.2, np.inf, 0.1, 0.2, np.inf, 0.0, -0.0, 0.1), (1.0, 3.0, 1.0, 5.0, np.inf, 2.0, 1.0, np.nan)
    size = len(doubt)
    cloud = Cloud(
        np.zeros((size, 3), np.float32),
        np.zeros((size, 3), np.uint8),
        np.array(confidence, np.float32),
        np.zeros(size, np.intp),
        np.array(doubt, np.float32),
    )
    assert cloud.surest_first().tolist() == [5, 6, 2, 7, 3, 0, 4, 1]


def test_the_surest_first_is_a_stable_sort():
    """Of doubt, then of confidence from high to low: ties, infinities, zeros of both signs and what is no number."""
    rng = np.random.default_rng(5)
    pool = np.array([0, -0.0, 1, -1, 0.5, 1e-40, 3e38, np.inf, -np.inf, np.nan], np.float32)
    for n in (1, 2, 3000):
        doubt, confidence = rng.choice(pool, n), rng.choice(pool, n)
        nothing = np.zeros((n, 3))
        cloud = Cloud(nothing.astype(np.float32), nothing.astype(np.uint8), confidence, np.arange(n), doubt)
        np.testing.assert_array_equal(cloud.surest_first(), np.lexsort((-confidence, doubt)))
