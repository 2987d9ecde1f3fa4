# SPDX-License-Identifier: Apache-2.0
"""Which pixels another view confirms."""

import numpy as np
import pytest
from papered import SLANTED, SMALL, frame, pose

from da3_ros.estimation.refinement.agreement import agreeing, places
from da3_ros.estimation.refinement.frame import Projection

H, W = SMALL.height, SMALL.width
BOTH = [(0, 1), (1, 0)]


@pytest.fixture(scope="module")
def frames():
    return [frame([SLANTED], SMALL, at) for at in (pose(0, 0, 0), pose(0.25, 0, 0), pose(0, 0.2, 0))]


def told(frames, *, accepted=None, tolerance=0.01, pairs=BOTH, changed=None):
    depths = [view.log_depth.copy() for view in frames]
    for i, part, by in changed or []:
        depths[i][part] += np.float32(by)
    masks = accepted or [np.ones((H, W), bool) for _ in frames]
    return agreeing(frames, depths, masks, pairs, [np.full((H, W), tolerance, np.float32)] * len(frames))


def inside(a, b):
    view = Projection.between(a, b)
    return view.inside(*view(np.exp(a.log_depth)))


def test_views_that_say_the_same_agree_wherever_both_see(frames):
    agreed, counts = told(frames)
    for i, j in BOTH:
        seen = inside(frames[i], frames[j])
        np.testing.assert_array_equal(agreed[i], seen)
        assert counts[i, j] == seen.sum() > 0.5 * H * W
    assert agreed[2].sum() == 0  # nobody was asked about it


def test_what_one_says_alone_is_not_confirmed(frames):
    """On either side: a wrong part of the first one, and where that of the second one is looked at."""
    part = np.s_[30:60, 50:80]
    agreed, counts = told(frames, changed=[(0, part, 0.1)])
    seen = inside(frames[0], frames[1])
    assert agreed[0][part].sum() == 0
    assert agreed[0].sum() == seen.sum() - seen[part].sum() == counts[0, 1]
    lost = inside(frames[1], frames[0]).sum() - agreed[1].sum()
    assert 600 < lost < 1200  # 900 pixels there


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("by", "agree"), [(0.015, True), (0.025, False)])
def test_both_tolerances_are_added(frames, by, agree, sign):
    agreed, _ = told(frames, changed=[(1, np.s_[:], sign * by)])
    share = agreed[0][inside(frames[0], frames[1])].mean()
    assert share > 0.99 if agree else share < 0.01


def test_what_is_not_accepted_confirms_nothing(frames):
    masks = [np.ones((H, W), bool), np.zeros((H, W), bool), np.ones((H, W), bool)]
    masks[1][:, W // 2 :] = True
    agreed, _ = told(frames, accepted=masks)
    view = Projection.between(frames[0], frames[1])
    u, _, _ = view(np.exp(frames[0].log_depth))
    np.testing.assert_array_equal(agreed[0], inside(frames[0], frames[1]) & (np.rint(u) >= W // 2))
    assert not (agreed[1] & ~masks[1]).any()
    masks[1][:] = False
    agreed, counts = told(frames, accepted=masks)
    assert agreed[0].sum() == agreed[1].sum() == 0
    assert counts == {(0, 1): 0, (1, 0): 0}


def test_one_of_several_is_enough(frames):
    pairs = [(0, 1), (0, 2)]
    agreed, counts = told(frames, pairs=pairs, changed=[(1, np.s_[:], 0.5)])
    np.testing.assert_array_equal(agreed[0], inside(frames[0], frames[2]))
    assert counts[0, 1] == 0
    assert counts[0, 2] == agreed[0].sum()


def test_depth_is_compared_in_the_other_view(frames):
    """Half a metre before the other one a wall is nearer: the logarithms differ, the views do not."""
    ahead = [frames[0], frame([SLANTED], SMALL, pose(0.1, 0, 0.6))]
    agreed, _ = told(ahead)
    assert agreed[0][inside(*ahead)].mean() > 0.97
    assert inside(*ahead).sum() > 2000


def test_places_are_the_nearest_pixels(frames):
    rows, columns = np.array([10, 50, 90, 40]), np.array([120, 60, 100, 0])
    (r, c), depth, seen = places(frames[0], frames[1], frames[0].log_depth[rows, columns], rows, columns)
    u, v, z = Projection.between(frames[0], frames[1])(np.exp(frames[0].log_depth))
    np.testing.assert_array_equal(seen, [True, True, True, False])
    np.testing.assert_array_equal(r[seen], np.rint(v[rows, columns][seen]))
    np.testing.assert_array_equal(c[seen], np.rint(u[rows, columns][seen]))
    np.testing.assert_allclose(depth, z[rows, columns], rtol=1e-6)
