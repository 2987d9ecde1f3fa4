# SPDX-License-Identifier: Apache-2.0
"""The parts of a sweep beside plain loops over pixels."""

from dataclasses import replace

import numpy as np
import pytest
from papered import SLANTED, SMALL, frame, pose

from da3_ros.estimation.refinement import sweep as module
from da3_ros.estimation.refinement.frame import Projection
from da3_ros.estimation.refinement.patches import Patches
from da3_ros.estimation.refinement.sweep import Rules, Steps, sweep, textured

H, W = SMALL.height, SMALL.width
HOME = pose(0, 0, 0)


@pytest.fixture(scope="module")
def others():
    return [frame([SLANTED], SMALL, at) for at in (pose(0.2, 0, 0, turn=(0, -3, 0)), pose(-0.05, 0.2, 0.1))]


@pytest.fixture(scope="module")
def given():
    return frame([SLANTED], SMALL, HOME, 0.05)


def best_by_hand(scores, motion, rules):
    """Place, whether it is accepted, and whether it is ambiguous, of one pixel."""
    best = int(np.argmax(scores))
    if not (scores[best] > rules.score and 0 < best < len(scores) - 1):
        return float(best), False, False
    apart = max(np.ceil(2.0 / max(motion, 0.25)), 2)  # steps that a matching patch is wide
    rivals = [score for k, score in enumerate(scores) if abs(k - best) > apart]
    alone = scores[best] - max(rivals, default=-9) > rules.margin
    before, here, after = scores[best - 1 : best + 2]
    bend = before - 2 * here + after
    shift = np.clip((before - after) / (2 * bend), -1, 1) if bend < -1e-6 else 0  # top of the parabola
    return best + shift, alone, not alone


@pytest.mark.parametrize("count", [3, 6, 15])
def test_the_best_depth_of_each_pixel(count):
    rng = np.random.default_rng(count)
    scores = rng.uniform(-0.2, 1, (count, 12, 20)).astype(np.float32)
    scores[:, :6] = np.sort(scores[:, :6], axis=0)[rng.permutation(count)]
    motion = rng.uniform(0, 2.5, (12, 20)).astype(np.float32)
    rules = Rules(score=0.75, margin=0.1)
    found = module._best(scores.copy(), motion, rules)
    kinds = set()
    for row, column in np.ndindex(12, 20):
        place, accepted, ambiguous = best_by_hand(scores[:, row, column], motion[row, column], rules)
        assert found[0][row, column] == pytest.approx(place, abs=1e-4)
        assert (found[1][row, column], found[2][row, column]) == (accepted, ambiguous)
        kinds.add((bool(accepted), bool(ambiguous)))
    assert (False, False) in kinds
    assert len(kinds) == 3 or count < 15


@pytest.mark.parametrize(("rival", "at", "motion", "alone"), [
    (0.85, 9, 1.0, True), (0.86, 9, 1.0, False), (0.9, 7, 1.0, True), (0.9, 8, 1.0, False),
    (0.9, 8, 0.5, True), (0.9, 9, 0.5, True), (0.9, 10, 0.5, False), (0.9, 2, 1.0, False), (0.9, 3, 1.0, True),
    (0.9, 7, 9.0, True), (0.9, 8, 9.0, False), (0.9, 13, 0.1, True), (0.9, 14, 0.1, False),
])  # fmt: skip
def test_a_rival_is_one_that_is_near_in_score_and_two_pixels_away(rival, at, motion, alone):
    """Two steps at least, and no more than eight."""
    scores = np.full((20, 1, 1), 0.1, np.float32)
    scores[5] = 0.955
    scores[at] = rival
    _, accepted, ambiguous = module._best(scores, np.full((1, 1), motion, np.float32), Rules(margin=0.1))
    assert (accepted.item(), ambiguous.item()) == (alone, not alone)


def test_a_plateau_of_scores_is_met_in_its_first_place_and_warns_of_nothing():
    scores = np.full((12, 1, 3), 0.2, np.float32)
    scores[4:7, 0, 0] = 0.9
    scores[4, 0, 1], scores[5, 0, 1], scores[3, 0, 1] = 0.9, 0.9, 0.9 - 1e-8
    scores[6, 0, 2] = 0.9
    with np.errstate(all="raise"):
        place, accepted, _ = module._best(scores, np.full((1, 3), 1.0, np.float32), Rules())
        module._best(np.zeros((12, 1, 3), np.float32) + np.float32(0.9), np.ones((1, 3), np.float32), Rules())
    assert place[0, 2] == 6
    assert accepted[0, 2]
    assert 3.5 <= place[0, 0] <= 5
    flat = np.zeros((12, 1, 1), np.float32)
    flat[4:7] = [[[0.9]], [[0.9 + 1e-7]], [[0.9]]]  # hardly a bend
    assert module._best(flat, np.ones((1, 1), np.float32), Rules())[0][0, 0] == 5


def test_scores_are_means_over_the_views_that_see_a_place():
    scores = module._Scores(4, (3, 3))
    whole, corner = (slice(0, 3), slice(0, 3)), (slice(1, 3), slice(0, 2))
    scores.add(0, whole, np.full((2, 3, 3), 0.8, np.float32), np.ones((2, 3, 3), bool))
    seen = np.ones((2, 2, 2), bool)
    seen[0, 0, 0] = False
    scores.add(1, corner, np.full((2, 2, 2), 0.4, np.float32), seen)
    expected = np.full((4, 3, 3), -1.0)  # nobody's
    expected[:2] = 0.8
    expected[1, 1:3, 0:2] = 0.6
    expected[1, 1, 0] = 0.8
    expected[2, 1:3, 0:2] = 0.4
    np.testing.assert_allclose(scores.means(), expected, rtol=1e-6)


@pytest.mark.parametrize(("rows", "columns", "found"), [
    ((5, 12), (20, 40), True), ((5, 13), (20, 28), True), ((5, 12), (20, 27), False), ((5, 11), (20, 40), False),
])  # fmt: skip
def test_a_window_is_eight_pixels_a_side_at_least(rows, columns, found):
    seen = np.zeros((50, 60), bool)
    seen[rows[0], columns[0] : columns[1]] = True
    seen[rows[0] : rows[1], columns[0]] = True
    if rows == (5, 12) and found:
        seen[12, 30] = True
        rows = (5, 13)
    window = module._window(seen)
    assert (window is not None) is found
    if found:
        assert window == (slice(*rows), slice(*columns))


def test_a_window_around_windows():
    windows = [(slice(5, 20), slice(30, 40)), (slice(2, 10), slice(35, 60))]
    assert module._around(windows) == (slice(2, 20), slice(30, 60))
    assert module._shifted(slice(5, 20), slice(2, 40)) == slice(3, 18)
    assert module._window(np.zeros((50, 60), bool)) is None


def test_how_far_a_place_moves_in_the_view_where_it_moves_most(given, others):
    depth = np.exp(given.log_depth)
    projections = [Projection.between(given, other) for other in others]
    found = module._motion(projections, depth)
    expected = np.zeros((H, W))
    for view in projections:
        here, there = view(depth), view(depth * np.float32(np.exp(1e-3)))
        moved = np.hypot(there[0] - here[0], there[1] - here[1]) / 1e-3
        expected = np.maximum(expected, np.where(view.inside(*here), moved, 0))
    np.testing.assert_allclose(found, expected, rtol=0.03, atol=0.5)
    assert (found[expected == 0] == 0).all()


@pytest.mark.parametrize(("pixels", "size", "reach"), [(3.0, 1.5, 0.15), (4.0, 0.5, 5.0), (2.0, 1.0, 0.01)])
def test_fine_steps_by_their_formula(given, others, pixels, size, reach):
    steps = Steps.around(given, others, pixels, size, reach)
    half = round(pixels / size)
    assert (steps.first, steps.size, steps.count) == (-half * size, size, 2 * half + 1)
    motion = module._motion([Projection.between(given, other) for other in others], np.exp(given.log_depth))
    unit = np.minimum(1 / np.maximum(motion, 1e-3), reach / (half * size))
    np.testing.assert_allclose(steps.unit, unit, rtol=1e-5)
    assert Steps.around(given, [], 3.0, 1.5, 1e9).unit.max() == pytest.approx(1000.0)  # where nothing moves


@pytest.mark.parametrize("aside", [None, 0.9, 1.4])
def test_how_many_steps_there_are(given, others, aside):
    """One a pixel of the farthest motion, by the upper quartile of what is seen at either end; seven at least, `most`
    at most.
    """
    others = others if aside is None else [frame([SLANTED], SMALL, pose(aside, 0, 0))]
    moved = []
    depth = np.exp(given.log_depth[::4, ::4])
    for other in others:
        view = Projection.between(given, other, every=4)
        near, far = view(depth * np.float32(np.exp(-0.4))), view(depth * np.float32(np.exp(0.4)))
        seen = view.inside(*near) | view.inside(*far)
        moved.append(np.percentile(np.hypot(near[0] - far[0], near[1] - far[1])[seen], 75))
    for pixels in (0.7, 1.4, 3.0):
        steps = Steps.within(0.4, given, others, pixels, 500)
        assert steps.count == max(int(np.ceil(max(moved) / pixels)), 6) + 1
        assert steps.first == -0.4
        assert steps.size * (steps.count - 1) == pytest.approx(0.8)
        assert steps.unit is None
    assert Steps.within(0.4, given, others, 0.1, 30).count == 30


@pytest.mark.parametrize("unit", [None, 0.5])
def test_depths_to_try(unit):
    steps = Steps(-0.3, 0.1, 7, None if unit is None else np.full((2, 3), unit, np.float32))
    log_depth = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = steps.depth(log_depth, 2)
    np.testing.assert_allclose(found, np.exp(log_depth - 0.1 * (unit or 1)), rtol=1e-6)
    part = steps.cropped(slice(1, 2), slice(0, 2))
    assert (part.first, part.size, part.count) == (-0.3, 0.1, 7)
    np.testing.assert_allclose(
        part.depth(log_depth[1:2, :2], 4), np.exp(log_depth[1:2, :2] + 0.1 * (unit or 1)), rtol=1e-6
    )


def test_only_textured_pixels_that_move_are_accepted(given, others):
    """Variance of grey levels in the window, above what the rules ask for."""
    steps = Steps.within(0.3, given, others, 1.4, 64)
    whole = sweep(given, others, steps, Rules(texture=0.0))
    variance = Patches(given.grey, 7).variance
    for texture in (500.0, 1500.0, 4000.0):
        part = sweep(given, others, steps, Rules(texture=texture))
        inner = (slice(4, -4), slice(4, -4))  # at the border of what is seen, patches end
        np.testing.assert_array_equal(part.accepted[inner], (whole.accepted & (variance > texture))[inner])
        np.testing.assert_array_equal(textured(given, Rules(texture=texture)), variance > texture)
        assert 0 < part.accepted.sum() < whole.accepted.sum()
    wide = Patches(given.grey, 15).variance
    np.testing.assert_array_equal(textured(given, Rules(window=15, texture=2000.0)), wide > 2000)
    assert (whole.pixels_per_log[whole.accepted] > 0).all()


@pytest.mark.parametrize("together", [1, 30_000, 2**22])
def test_as_many_depths_at_once_as_keep_numpy_busy(given, others, monkeypatch, together):
    """What is found is the same, however many go through one call."""
    steps = Steps.within(0.3, given, others[:1], 1.4, 64)
    expected = sweep(given, others[:1], steps, Rules())
    calls = []
    compare = Patches.compare
    monkeypatch.setattr(module, "TOGETHER", together)
    monkeypatch.setattr(Patches, "compare", lambda self, images: calls.append(len(images)) or compare(self, images))
    found = sweep(given, others[:1], steps, Rules())
    np.testing.assert_array_equal(found.accepted, expected.accepted)
    np.testing.assert_allclose(found.log_depth, expected.log_depth, atol=1e-5)
    assert sum(calls) == steps.count
    assert max(calls) == min(max(1, together // ((H + 6) * W)), steps.count)


def test_what_no_view_sees_stays_as_it_was(given):
    """Each is asked in its own window; what lies between these is nobody's."""
    left, right = (frame([SLANTED], SMALL, pose(x, 0, 0)) for x in (-1.5, 1.5))
    steps = Steps.within(0.1, given, [left, right], 1.4, 64)
    found = sweep(given, [left, right], steps, Rules())
    unseen = np.zeros((H, W), bool)
    unseen[:, W // 2 - 3 : W // 2 + 3] = True
    for view in (left, right):
        for k in (0, steps.count - 1):
            unseen &= ~(part := Projection.between(given, view)).inside(*part(steps.depth(given.log_depth, k)))
    assert unseen.any()
    assert not found.accepted[unseen].any()
    assert not found.ambiguous[unseen].any()
    alone = [sweep(given, [view], steps, Rules()) for view in (left, right)]
    for one in alone:
        sure = one.accepted & found.accepted
        assert sure.sum() > 100
        np.testing.assert_allclose(found.log_depth[sure], one.log_depth[sure], atol=0.02)
    assert found.accepted.sum() == pytest.approx(sum(one.accepted.sum() for one in alone), rel=0.1)
    np.testing.assert_array_equal(sweep(given, [], steps, Rules()).log_depth, given.log_depth)


def test_both_ends_of_what_is_tried_count_for_who_is_asked(given, others, monkeypatch):
    ends = []
    seen = module._seen
    monkeypatch.setattr(module, "_seen", lambda view, both: ends.append(both) or seen(view, both))
    sweep(given, others, Steps(-0.4, 0.1, 9), Rules())
    assert len(ends) == 2
    for near, far in ends:
        np.testing.assert_allclose(near, np.exp(given.log_depth - 0.4), rtol=1e-5)
        np.testing.assert_allclose(far, np.exp(given.log_depth + 0.4), rtol=1e-5)


def seen_by_hand(view, ends):
    return np.logical_or(view.inside(*view(ends[0])), view.inside(*view(ends[1])))


def test_what_is_seen_at_one_end_is_seen(given):
    view = Projection.between(given, frame([SLANTED], SMALL, pose(0.9, 0, 0)))
    ends = np.exp(given.log_depth - 0.5), np.exp(given.log_depth + 0.5)
    found = module._seen(view, ends)
    np.testing.assert_array_equal(found, seen_by_hand(view, ends))
    assert found.sum() > np.logical_and(view.inside(*view(ends[0])), view.inside(*view(ends[1]))).sum()


@pytest.mark.parametrize(("score", "texture"), [(0.5, 5.0), (0.9, 5.0), (0.5, 2500.0)])
def test_what_is_confirmed_is_seen_textured_and_alike(given, score, texture):
    """Each by itself, as the parts of a sweep say it."""
    rules = Rules(window=5, score=score, texture=texture)
    other = frame([SLANTED], SMALL, pose(0.5, 0, 0))
    log_depth = given.log_depth - np.float32(0.04)
    view = Projection.between(given, other)
    u, v, z = view(np.exp(log_depth))
    patch = Patches(given.grey, 5)
    alike = patch.compare(module.looked_up(other.grey, u[None], v[None]))[0]
    expected = view.inside(u, v, z) & (patch.variance > texture) & (alike > score)
    found = module.confirmed(given, other, log_depth, rules)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < view.inside(u, v, z).sum() < H * W


def test_log_depth_moves_by_steps_of_each_pixel_s_own_unit(given, others):
    """The same places are found, in whatever units the steps are told."""
    unit = np.full((H, W), 0.5, np.float32)
    unit[:, W // 2 :] = 0.25
    one = sweep(given, others, Steps(-0.3, 0.05, 13), Rules())
    for half, columns in ((0.5, slice(8, W // 2 - 8)), (0.25, slice(W // 2 + 8, W - 8))):
        other = sweep(given, others, Steps(-0.3 / half, 0.05 / half, 13, unit), Rules())
        inner = (slice(8, H - 8), columns)
        both = one.accepted[inner] & other.accepted[inner]
        assert both.sum() > 0.9 * one.accepted[inner].sum() > 100
        np.testing.assert_allclose(other.log_depth[inner][both], one.log_depth[inner][both], atol=2e-3)


def test_the_answer_is_a_new_one(given, others):
    before = given.log_depth.copy()
    steps = Steps.within(0.3, given, others, 1.4, 64)
    found = sweep(replace(given), others, steps, Rules())
    np.testing.assert_array_equal(given.log_depth, before)
    assert (
        found.log_depth.shape == found.accepted.shape == found.ambiguous.shape == found.pixels_per_log.shape == (H, W)
    )
    assert not (found.accepted & found.ambiguous).any()
