# SPDX-License-Identifier: Apache-2.0
"""Depth of rendered scenes by trying: sub-pixel, or not accepted."""

from dataclasses import replace

import numpy as np
import pytest
from papered import SLANTED, SMALL, Sheet, frame, pose, stripes, wallpaper

from da3_ros.estimation.refinement.agreement import agreeing
from da3_ros.estimation.refinement.frame import Projection
from da3_ros.estimation.refinement.sweep import Rules, Steps, confirmed, sweep, textured

H, W = SMALL.height, SMALL.width
RULES = Rules()
HOME = pose(0, 0, 0)
AROUND = (pose(0.2, 0, 0, turn=(0, -3, 0)), pose(-0.05, 0.2, 0.1, turn=(3, 0, 2)))
"""Beside, and below and before the first camera."""


def wide(given, others, pixels=1.0, reach=0.5):
    return Steps.within(reach, given, others, pixels, 64)


def tried(steps, log_depth):
    """Depths (h, w), one after the other."""
    return [steps.depth(log_depth, k) for k in range(steps.count)]


def seen_by(others, depth_of):
    """Pixels (h, w) of a frame that lie in the image of one of the others."""
    return np.logical_or.reduce(
        [(view := Projection.between(depth_of, other)).inside(*view(np.exp(depth_of.log_depth))) for other in others]
    )


@pytest.fixture(scope="module")
def others():
    return [frame([SLANTED], SMALL, at) for at in AROUND]


@pytest.mark.parametrize("wrong", [0.0, 0.3, -0.3])
def test_a_slanted_wall_is_found_to_a_fraction_of_a_pixel(others, wrong):
    true = frame([SLANTED], SMALL, HOME)
    given = replace(true, log_depth=true.log_depth + np.float32(wrong))
    found = sweep(given, others, wide(given, others), RULES)
    assert found.accepted[seen_by(others, true)].mean() > 0.85
    off = np.abs(found.log_depth - true.log_depth)[found.accepted]
    pixels = off * found.pixels_per_log[found.accepted]
    assert np.median(pixels) < 0.06
    assert np.percentile(pixels, 95) < 0.3
    assert np.median(off) < 0.008  # of 1.0 that was searched, in steps of about 0.1


def test_a_networks_bent_surface_leads_there_as_well(others):
    true = frame([SLANTED], SMALL, HOME)
    bend = 0.2 * np.sin(np.arange(W) / 15)[None] * np.cos(np.arange(H) / 20)[:, None]
    given = replace(true, log_depth=(true.log_depth + bend).astype(np.float32))
    found = sweep(given, others, wide(given, others), RULES)
    assert found.accepted.mean() > 0.7
    assert np.median(np.abs(found.log_depth - true.log_depth)[found.accepted]) < 0.012


def test_exposure_changes_nothing(others):
    given = frame([SLANTED], SMALL, HOME, 0.2)
    dim = [replace(other, grey=other.grey * np.float32(0.6) + 12) for other in others]
    a, b = (sweep(given, views, wide(given, views), RULES) for views in (others, dim))
    both = a.accepted & b.accepted
    assert both.sum() > 0.98 * a.accepted.sum()
    assert np.percentile(np.abs(a.log_depth - b.log_depth)[both], 99) < 0.01


def test_out_of_reach_nothing_is_accepted(others):
    true = frame([SLANTED], SMALL, HOME)
    given = replace(true, log_depth=true.log_depth + np.float32(0.6))
    assert sweep(given, others, wide(given, others, reach=0.3), RULES).accepted.mean() < 0.02
    assert sweep(given, others, wide(given, others, reach=0.8), RULES).accepted.mean() > 0.7


def test_without_texture_nothing_is_accepted():
    plain = replace(SLANTED, paper=np.full((600, 900), 128, np.float32))
    given = frame([plain], SMALL, HOME, 0.2)
    noise = np.random.default_rng(0).normal(0, 1, (2, H, W)).astype(np.float32)
    given = replace(given, grey=given.grey + noise[0])
    others = [replace(view := frame([plain], SMALL, AROUND[0]), grey=view.grey + noise[1])]
    assert sweep(given, others, wide(given, others), RULES).accepted.sum() == 0
    assert textured(given, RULES).sum() == 0
    assert textured(frame([SLANTED], SMALL, HOME), RULES).mean() > 0.99
    half = replace(given, grey=np.where(np.arange(W) < W // 2, given.grey, frame([SLANTED], SMALL, HOME).grey))
    assert textured(half, RULES)[:, : W // 2 - 4].sum() == 0
    assert textured(half, RULES)[:, W // 2 + 4 :].mean() > 0.95


def test_what_is_hardly_to_be_seen_says_nothing_however_well_it_fits(others):
    """Stains of a grey level or two: no better than noise."""
    rules = Rules(score=0.3, margin=0.02, texture=8.0)
    given = frame([SLANTED], SMALL, HOME, 0.1)
    weak = [replace(view, grey=128 + (view.grey - 128) * np.float32(0.025)) for view in (given, *others)]
    assert sweep(given, others, wide(given, others), rules).accepted.mean() > 0.7
    assert sweep(weak[0], weak[1:], wide(weak[0], weak[1:]), rules).accepted.sum() == 0
    true = replace(weak[0], log_depth=weak[0].log_depth - np.float32(0.1))
    assert confirmed(true, weak[1], true.log_depth, rules).sum() == 0
    assert confirmed(true, weak[1], true.log_depth, replace(rules, score=0.1, texture=1.0)).mean() > 0.5


def test_what_another_view_does_not_see_is_not_accepted():
    given = frame([SLANTED], SMALL, HOME, 0.2)
    aside = [frame([SLANTED], SMALL, pose(0.9, 0, 0))]  # sees the right half only
    found = sweep(given, aside, wide(given, aside), RULES)
    seen = seen_by(aside, frame([SLANTED], SMALL, HOME))
    assert 0.3 < seen.mean() < 0.7
    assert found.accepted[seen].mean() > 0.7
    assert found.accepted[~seen].sum() < 0.03 * seen.sum()
    away = [frame([SLANTED, Sheet((0, 0, -3))], SMALL, pose(0, 0, 0, turn=(0, 180, 0)))]
    nothing = sweep(given, away, Steps(-0.5, 0.1, 11), RULES)
    assert nothing.accepted.sum() == nothing.ambiguous.sum() == 0
    np.testing.assert_array_equal(nothing.log_depth, given.log_depth)


def test_an_occluded_wall_is_not_believed():
    """A board hangs before the wall: what it hides from the second camera has no partner there."""
    board = Sheet((0.05, 0.0, 1.2), half=(0.15, 0.3), paper=5)
    back = replace(SLANTED, centre=(0, 0, 2.2))
    views = [frame([board, back], SMALL, at, 0.1) for at in (HOME, pose(0.25, 0, 0))]
    depth = [np.exp(view.log_depth - np.float32(0.1)) for view in views]
    u, v, z = (projection := Projection.between(*views))(depth[0])
    inside = projection.inside(u, v, z)
    there = depth[1][np.where(inside, np.rint(v), 0).astype(int), np.where(inside, np.rint(u), 0).astype(int)]
    hidden = inside & (z > 1.2 * there)
    assert hidden.sum() > 200
    found = [sweep(views[i], [views[1 - i]], wide(views[i], [views[1 - i]]), RULES) for i in (0, 1)]
    tolerance = [np.full((H, W), 0.03, np.float32)] * 2
    agreed, _ = agreeing(views, [f.log_depth for f in found], [f.accepted for f in found], [(0, 1), (1, 0)], tolerance)
    off = np.abs(found[0].log_depth - np.log(depth[0]))
    # In its patch an edge has the board as well: what is accepted there is the board's, and wrong.
    assert found[0].accepted[hidden].mean() < 0.3
    assert (agreed[0] & (off > 0.1))[hidden].mean() < 0.15
    assert agreed[0][inside & ~hidden].mean() > 0.6
    assert (off[agreed[0]] > 0.1).mean() < 0.03


@pytest.mark.parametrize(("period", "repeats"), [(10, True), (300, False)])
def test_what_repeats_is_ambiguous(period, repeats):
    """A fence: its stripes fit where another one was as well, 10 pixels of the paper or 8 of the image aside."""
    fence = replace(SLANTED, paper=stripes(period) + (0 if repeats else wallpaper(0) - 128))
    given, others = frame([fence], SMALL, HOME, 0.1), [frame([fence], SMALL, pose(0.4, 0, 0))]
    found = sweep(given, others, wide(given, others), RULES)
    seen = seen_by(others, frame([fence], SMALL, HOME))
    if repeats:
        assert found.ambiguous[seen].mean() > 0.6
        assert found.accepted.mean() < 0.05
    else:
        assert found.ambiguous[seen].mean() < 0.1
        assert found.accepted[seen].mean() > 0.6


def test_weak_parallax_moves_few_pixels(others):
    del others
    given = frame([SLANTED], SMALL, HOME)
    told = {}
    for baseline in (0.1, 0.2, 0.4):
        other = [frame([SLANTED], SMALL, pose(baseline, 0, 0))]
        found = sweep(given, other, wide(given, other), RULES)
        told[baseline] = np.median((found.pixels_per_log * np.exp(given.log_depth))[found.accepted])
        # f b / z pixels for a change of 1
        assert told[baseline] == pytest.approx(SMALL.fx * baseline, rel=0.02)
    two = [frame([SLANTED], SMALL, pose(b, 0, 0)) for b in (0.1, 0.4)]
    found = sweep(given, two, wide(given, two), RULES)
    seen = seen_by(two[1:], given) & found.accepted
    assert np.median((found.pixels_per_log * np.exp(given.log_depth))[seen]) == pytest.approx(SMALL.fx * 0.4, rel=0.02)


def test_views_tell_together():
    """What repeats for one of them is told apart by another one, which stands elsewhere."""
    fence = replace(SLANTED, paper=stripes(10))
    given = frame([fence], SMALL, HOME, 0.1)
    one, other = (frame([fence], SMALL, pose(x, 0, 0)) for x in (0.4, 0.25))
    alone = sweep(given, [one], wide(given, [one]), RULES)
    both = sweep(given, [one, other], wide(given, [one, other]), RULES)
    seen = seen_by([one], frame([fence], SMALL, HOME)) & seen_by([other], frame([fence], SMALL, HOME))
    assert alone.accepted[seen].mean() < 0.05
    assert both.accepted[seen].mean() > 0.6
    off = np.abs(both.log_depth - given.log_depth + np.float32(0.1))[both.accepted & seen]
    assert np.median(off) < 0.01


def test_steps_reach_both_ends_and_are_fine_enough(others):
    given = frame([SLANTED], SMALL, HOME)
    for pixels, reach in ((1.0, 0.5), (0.5, 0.3), (2.0, 1.0)):
        steps = Steps.within(reach, given, others, pixels, 200)
        depths = tried(steps, given.log_depth)
        assert len(depths) == steps.count
        np.testing.assert_allclose(np.log(depths[0]) - given.log_depth, -reach, atol=1e-4)
        np.testing.assert_allclose(np.log(depths[-1]) - given.log_depth, reach, atol=1e-4)
        whole = 0
        for other in others:
            view = Projection.between(given, other)
            ends = [view(depth) for depth in (depths[0], depths[-1])]
            inside = view.inside(*ends[0]) | view.inside(*ends[1])
            moved = np.hypot(ends[0][0] - ends[1][0], ends[0][1] - ends[1][1])[inside]
            whole = max(whole, np.percentile(moved, 75))
        assert whole / (steps.count - 1) == pytest.approx(pixels, rel=0.15)


def test_steps_are_as_many_as_may_be(others):
    given = frame([SLANTED], SMALL, HOME)
    assert Steps.within(1.0, given, others, 0.1, 20).count == 20
    near = [frame([SLANTED], SMALL, pose(0.001, 0, 0))]
    assert Steps.within(0.5, given, near, 1.4, 48).count == 7  # a best one has neighbours
    assert Steps.within(0.5, given, [], 1.4, 48).count == 7


def test_fine_steps_move_by_pixels_of_the_view_that_sees_most(others):
    given = frame([SLANTED], SMALL, HOME)
    steps = Steps.around(given, others, 3.0, 1.5, 5.0)
    assert steps.count == 5
    depths = tried(steps, given.log_depth)
    np.testing.assert_allclose(np.log(depths[2]), given.log_depth, atol=1e-5)
    most = np.zeros((H, W), np.float32)
    for other in others:
        view = Projection.between(given, other)
        a, b = view(depths[1]), view(depths[2])
        most = np.maximum(most, np.where(view.inside(*a) & view.inside(*b), np.hypot(a[0] - b[0], a[1] - b[1]), 0))
    assert np.median(most[most > 0]) == pytest.approx(1.5, rel=0.1)
    # Where little moves they go no farther than that.
    short = Steps.around(given, others, 3.0, 1.5, 0.05)
    ends = tried(short, given.log_depth)
    assert np.abs(np.log(ends[-1]) - given.log_depth).max() == pytest.approx(0.05, abs=1e-4)
    assert np.abs(np.log(ends[0]) - given.log_depth).max() == pytest.approx(0.05, abs=1e-4)


def test_fine_steps_make_a_good_guess_better(others):
    true = frame([SLANTED], SMALL, HOME)
    given = replace(true, log_depth=true.log_depth + np.float32(0.02))
    found = sweep(given, others, Steps.around(given, others, 3.0, 1.5, 0.15), RULES)
    assert found.accepted.mean() > 0.6
    assert np.median(np.abs(found.log_depth - true.log_depth)[found.accepted]) < 0.006


def test_a_part_of_the_steps(others):
    given = frame([SLANTED], SMALL, HOME)
    steps, at = Steps.around(given, others, 3.0, 1.5, 0.15), (slice(5, 40), slice(60, 90))
    part = steps.cropped(*at)
    for own, whole in zip(tried(part, given.log_depth[at]), tried(steps, given.log_depth), strict=True):
        np.testing.assert_array_equal(own, whole[at])


def test_a_right_depth_is_confirmed_and_a_wrong_one_is_not(others):
    true = frame([SLANTED], SMALL, HOME)
    seen = seen_by(others[:1], true)
    rules = Rules(window=5, score=0.5, texture=5.0)
    right = confirmed(true, others[0], true.log_depth, rules)
    assert right[seen].mean() > 0.95
    assert right[~seen].sum() == 0
    wrong = confirmed(true, others[0], true.log_depth + np.float32(0.4), rules)
    assert wrong.mean() < 0.15
    plain = replace(true, grey=np.full((H, W), 99, np.float32))
    assert confirmed(plain, replace(others[0], grey=plain.grey), true.log_depth, rules).sum() == 0
