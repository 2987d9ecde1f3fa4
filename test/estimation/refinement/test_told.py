# SPDX-License-Identifier: Apache-2.0
"""What views tell of each other: how sure it is, by hand; what is compared, and what is passed on."""

from dataclasses import replace

import numpy as np
import pytest
from papered import SLANTED, SMALL, bent, pose, posed

from da3_ros.estimation.refinement import RefinementConfig, told
from da3_ros.estimation.refinement.level import Level, smaller
from da3_ros.estimation.refinement.stereo import Disparities, rectification
from da3_ros.estimation.refinement.sweep import Found, Rules, Steps
from da3_ros.estimation.refinement.sweeper import on_the_cpu
from da3_ros.estimation.refinement.told import by_stereo, by_sweep, kinds

H, W = SMALL.height, SMALL.width
CONFIG = RefinementConfig()
BEND = bent(by=0.1)
SIDE_BY_SIDE = (pose(0, 0, 0), pose(0.25, 0, 0))
ABOVE = (pose(0, 0, 0), pose(0.02, -0.2, 0.1))


def seen_from(*places, **changes):
    return [replace(posed([SLANTED], at, BEND), **changes) for at in places]


def level_of(views, found=None, agreed=None):
    """A first level that says what it is told."""
    frames = [smaller(view) for view in views]
    shape = frames[0].grey.shape
    found = found or [
        Found(each.log_depth, np.ones(shape, bool), np.full(shape, 20, np.float32), np.zeros(shape, bool))
        for each in frames
    ]
    return Level(found, agreed or [np.ones(shape, bool)] * len(views), {})


def whole(value, shape=(H, W)):
    return np.full(shape, value, np.float32)


@pytest.mark.parametrize(("pixels", "noise", "focal", "angle", "sigma"), [
    (10.0, 0.25, 200.0, 0.0, 0.025), (10.0, 0.3, 200.0, 0.002, 0.05), (40.0, 0.0, 100.0, 0.004, 0.01),
    (0.0, 0.25, 100.0, 0.0, 250.0), (1e-4, 0.25, 100.0, 0.0, 250.0),
])  # fmt: skip
def test_matching_and_the_angle_between_cameras_make_depth_unsure(pixels, noise, focal, angle, sigma):
    """Pixels that a place is off by, over those that it moves by where log depth changes by 1."""
    found = told._sigma(whole(pixels), noise, focal, angle)
    np.testing.assert_allclose(found, sigma, rtol=1e-5)
    assert found.dtype == np.float32


def test_an_error_of_the_pose_is_shared_by_all_of_a_view():
    view = seen_from(pose(0, 0, 0), sigma=(0.002, 0.01))[0]
    pixels, accepted = whole(50.0), np.zeros((H, W), bool)
    pixels[:, : W // 2] = 1.0  # not accepted
    assert told._common(view, pixels, accepted, 0.25) == 0.0
    accepted[:, W // 2 :] = True
    expected = np.hypot(100.0 * 0.002 / 50.0, 0.01 / 0.25)
    assert told._common(view, pixels, accepted, 0.25) == pytest.approx(expected)
    assert told._common(view, pixels, accepted, 0.0) == pytest.approx(0.01 / 1e-6)


def test_pieces_are_what_is_accepted_and_sure_enough():
    log_depth = np.arange(H * W, dtype=np.float32).reshape(H, W)
    sigma, accepted = whole(0.1499), np.zeros((H, W), bool)
    accepted[3, 5:9] = True
    sigma[3, 6], sigma[3, 7] = 0.16, 0.02
    found = told._pieces(log_depth, accepted, sigma, 0.03)
    assert found.rows.tolist() == [3, 3, 3]
    assert found.columns.tolist() == [5, 7, 8]
    np.testing.assert_array_equal(found.log_depth, log_depth[3, [5, 7, 8]])
    np.testing.assert_allclose(found.sigma, [0.1499, 0.02, 0.1499], rtol=1e-5)
    assert (found.counts(), found.common) == ({"views": 3}, 0.03)
    assert told._pieces(log_depth, accepted, sigma).common == 0.0


@pytest.mark.parametrize(("size", "expected"), [(0, (294, 378)), (200, (156, 200)), (5000, (400, 600))])
def test_the_size_of_images_side_by_side(size, expected):
    """Three times the network's, or as long as is asked for; never more than there is."""
    large = np.zeros((400, 600) if size == 5000 else (392, 504), np.uint8)
    view = replace(seen_from(pose(0, 0, 0))[0], large=large)
    assert told._at_most(view, replace(CONFIG, size=size)).shape == expected


def test_an_image_of_just_that_size_is_taken_as_it_is():
    large = np.zeros((98 * 3, 126 * 3), np.uint8)
    view = replace(seen_from(pose(0, 0, 0))[0], large=large)
    assert told._at_most(view, CONFIG) is large


@pytest.mark.parametrize(("wrong", "compared", "odds"), [
    (0.0, 1.0, 0.0), (0.3, 1.0, 0.3), (0.5, 0.5, 0.5), (0.5, 0.06, 0.0),
])  # fmt: skip
def test_the_share_where_both_ways_of_matching_differ(wrong, compared, odds):
    """Of the pixels that both tell; of fewer than 200 there is no share."""
    views = seen_from(*SIDE_BY_SIDE)
    first = level_of(views)
    h, w = first.agreed[0].shape
    rows = np.arange(h) < round(compared * h)
    first.agreed[0] = np.broadcast_to(rows[:, None], (h, w)).copy()
    off = np.zeros((h, w), np.float32)
    off[:, : round(wrong * w)] = 0.11
    off[:, round(wrong * w) :] = -0.09
    swept = first.found[0].log_depth
    disparities = Disparities(
        np.kron(swept + off, np.ones((2, 2), np.float32)), np.ones((2 * h, 2 * w), bool), whole(1, (2 * h, 2 * w))
    )
    assert told._at_odds(disparities, first, 0) == pytest.approx(odds, abs=0.02)
    nowhere = replace(disparities, accepted=np.zeros((2 * h, 2 * w), bool))
    assert told._at_odds(nowhere, first, 0) == 0.0
    first.found[0] = None
    assert told._at_odds(disparities, first, 0) == 0.0


def test_only_pairs_of_one_moment_stand_side_by_side():
    views = seen_from(*SIDE_BY_SIDE, pose(0.1, 0.3, 0))
    pairs = [(0, 1), (1, 0), (0, 2), (2, 0)]
    beside, rest = kinds(views, pairs)
    assert list(beside) == [(0, 1)]
    assert beside[0, 1].baseline == pytest.approx(0.25)
    assert rest == [(0, 2), (2, 0)]
    moved = [replace(view, body=i) for i, view in enumerate(views)]
    assert kinds(moved, pairs) == ({}, pairs)


class Stereo:
    """What semi-global matching says is given; what it was asked is kept."""

    def __init__(self, monkeypatch, views, accepted=None):
        self.asked = []
        both = [
            Disparities(
                view.frame.log_depth - BEND, np.ones((H, W), bool) if accepted is None else accepted, whole(60.0)
            )
            for view in views
        ]
        monkeypatch.setattr(told, "match", lambda *given: self.asked.append(given) or both)
        monkeypatch.setattr(told, "confirmed", lambda *given: np.ones((H, W), bool))
        monkeypatch.setattr(told, "changes_along_rows", lambda grey: np.ones((H, W), bool))
        monkeypatch.setattr(told, "beside_outline", lambda *given: np.zeros((H, W), bool))


def ask(views, first=None, config=CONFIG):
    turned = rectification(views[0].frame.pose, views[1].frame.pose)
    return by_stereo(views, (0, 1), turned, first or level_of([replace(v, frame=unbent(v)) for v in views]), config)


def unbent(view):
    return replace(view.frame, log_depth=(view.frame.log_depth - BEND).astype(np.float32))


def test_of_a_pair_side_by_side_both_views_are_told(monkeypatch):
    views = seen_from(*SIDE_BY_SIDE, sigma=(0.002, 0.01))
    stereo = Stereo(monkeypatch, views)
    left, right = ask(views)
    assert (left.view, right.view) == (0, 1)
    ratio = views[0].large.shape[1] / W  # of the images that are matched
    assert ratio == 3
    sigma = np.hypot(0.3 / 3, 100 * 0.002) / (60.0 / 3)
    common = np.hypot(100 * 0.002 / (60 / 3), 0.01 / 0.25)
    for one, view in ((left, views[0]), (right, views[1])):
        assert len(one.evidence) == H * W
        np.testing.assert_allclose(one.evidence.log_depth, (view.frame.log_depth - BEND).ravel(), atol=1e-6)
        np.testing.assert_allclose(one.evidence.sigma, sigma, rtol=1e-4)
        assert one.evidence.common == pytest.approx(common, rel=1e-4)
        assert len(one.hints) == 0
    (asked,) = stereo.asked
    assert asked[0] is views[0].frame
    assert asked[1] is views[1].frame
    assert (asked[2].shape, asked[3].shape, asked[5]) == (views[0].large.shape, views[1].large.shape, CONFIG.reach)
    ask(views, config=replace(CONFIG, size=252, reach=0.8))
    assert (stereo.asked[-1][2].shape, stereo.asked[-1][5]) == ((196, 252), 0.8)


@pytest.mark.parametrize("name", ["confirmed", "changes_along_rows", "beside_outline", "ambiguous"])
def test_what_nothing_confirms_is_a_hint(monkeypatch, name):
    """Not seen in both images, without change along the rows, beside an outline, or where things repeat."""
    views = seen_from(*SIDE_BY_SIDE)
    Stereo(monkeypatch, views)
    doubtful = np.zeros((H, W), bool)
    doubtful[:40] = True
    first = level_of([replace(view, frame=unbent(view)) for view in views])
    if name == "ambiguous":
        first.found[0].ambiguous[:20] = first.found[1].ambiguous[:20] = True
    else:
        monkeypatch.setattr(told, name, lambda *given: doubtful if name == "beside_outline" else ~doubtful)
    for one in ask(views, first):
        assert one.evidence.rows.min() == 40
        assert one.hints.rows.max() == 39
        assert len(one.evidence) + len(one.hints) == H * W


def test_what_is_not_accepted_is_no_hint_either(monkeypatch):
    views = seen_from(*SIDE_BY_SIDE)
    accepted = np.zeros((H, W), bool)
    accepted[20:] = True
    Stereo(monkeypatch, views, accepted)
    for one in ask(views):
        assert (len(one.evidence), len(one.hints)) == ((H - 20) * W, 0)


def test_without_a_first_level_of_a_view_its_own_matching_counts(monkeypatch):
    views = seen_from(*SIDE_BY_SIDE)
    Stereo(monkeypatch, views)
    first = level_of(views)
    first.found[:] = [None, None]
    assert [len(one.evidence) for one in ask(views, first)] == [H * W] * 2


def test_a_pair_at_odds_with_the_sweep_tells_nothing(monkeypatch):
    views = seen_from(*SIDE_BY_SIDE)
    Stereo(monkeypatch, views)
    first = level_of([replace(view, frame=unbent(view)) for view in views])
    h = len(first.agreed[1])
    for share, count in ((0.13, 2), (0.2, 0)):
        first.found[1].log_depth[:] = smaller(replace(views[1], frame=unbent(views[1]))).log_depth
        first.found[1].log_depth[: round(share * h)] += 0.3
        assert len(ask(views, first)) == count


def swept(views, pairs, first=None, sweeper=on_the_cpu, coarse=None):
    coarse = coarse or [smaller(view) for view in views]
    return by_sweep(views, coarse, first or level_of(views), pairs, Rules(), sweeper)


def test_of_others_the_fine_sweep_tells():
    views = seen_from(*ABOVE, pose(0.5, 0.1, 0), sigma=(0.001, 0.01))
    found = swept(views, [(0, 1), (1, 0), (0, 2), (2, 0)], level_of([replace(v, frame=unbent(v)) for v in views]))
    assert [one.view for one in found] == [0, 1, 2]
    baselines = [np.linalg.norm(ABOVE[1][:3, 3]), np.linalg.norm(ABOVE[1][:3, 3]), np.hypot(0.5, 0.1)]
    for one, view, baseline in zip(found, views, baselines, strict=True):
        assert len(one.evidence) > 0.3 * H * W
        truth = (view.frame.log_depth - BEND)[one.evidence.rows, one.evidence.columns]
        assert np.median(np.abs(one.evidence.log_depth - truth)) < 0.01
        assert one.evidence.common > 0.01 / baseline
        assert one.evidence.common == pytest.approx(0.01 / baseline, rel=0.1)  # the nearest partner's
        assert len(one.hints) == 0


def test_views_that_only_bear_witness_are_told_nothing_of():
    views = seen_from(*ABOVE)
    views[1] = replace(views[1], wanted=False)
    assert [one.view for one in swept(views, [(0, 1), (1, 0)])] == [0]


def fine(views, first, coarse=None):
    """The frames that the fine sweep begins with, and its steps."""
    asked = []

    def sweeper(jobs, rules):
        asked.extend(jobs)
        return on_the_cpu(jobs, rules)

    swept(views, [(0, 1), (1, 0)], first, sweeper, coarse)
    return asked


def test_the_fine_sweep_begins_where_the_first_level_ended():
    """By what it changed: at the pixels that agree, and between these."""
    views = seen_from(*ABOVE)
    coarse = [smaller(view) for view in views]
    first = level_of(views)
    for each in first.found:
        each.log_depth[:] += np.float32(0.07)
    for job, view in zip(fine(views, first, coarse), views, strict=True):
        np.testing.assert_allclose(job.frame.log_depth, view.frame.log_depth + 0.07, atol=1e-4)
        expected = Steps.around(job.frame, job.others, 3.0, 1.5, 0.15)
        assert (job.steps.first, job.steps.size, job.steps.count) == (expected.first, expected.size, expected.count)
        np.testing.assert_allclose(job.steps.unit, expected.unit)


@pytest.mark.parametrize(("count", "is_used"), [(19, False), (20, True)])
def test_a_few_pixels_of_the_first_level_are_nothing_to_lean_on(count, is_used):
    views = seen_from(*ABOVE)
    first = level_of(views)
    for each, agreed in zip(first.found, first.agreed, strict=True):
        each.log_depth[:] += np.float32(0.07)
        agreed[:] = False
        agreed.ravel()[:count] = True
    first.agreed[1] = first.agreed[0].copy()
    (job, _) = fine(views, first)
    moved = np.abs(job.frame.log_depth - views[0].frame.log_depth).max()
    assert (moved > 0.05) == is_used


def test_a_view_that_the_first_level_did_not_sweep_begins_at_the_network_s_depth():
    views = seen_from(*ABOVE)
    first = level_of(views)
    first.found[:] = [None, None]
    for job, view in zip(fine(views, first), views, strict=True):
        assert job.frame is view.frame


def test_the_first_level_is_half_as_large():
    view = posed(
        [SLANTED],
        pose(0, 0, 0),
        BEND,
    )
    found = smaller(view)
    assert found.grey.shape == found.log_depth.shape == (49, 63)
    assert found.camera == SMALL.scaled(63, 49)
    assert found.pose is view.frame.pose
    np.testing.assert_allclose(found.log_depth, view.frame.log_depth.reshape(49, 2, 63, 2).mean((1, 3)), atol=1e-5)
    np.testing.assert_allclose(found.grey, view.frame.grey.reshape(49, 2, 63, 2).mean((1, 3)), atol=1e-3)
    tiny = replace(
        view, frame=replace(view.frame, grey=view.frame.grey[:10, :12], log_depth=view.frame.log_depth[:10, :12])
    )
    small = smaller(tiny)
    assert small.grey.shape == (8, 8)
    # By areas also where these are no whole pixels.
    across = np.kron(tiny.frame.grey, np.ones((4, 2))).reshape(8, 5, 8, 3).mean((1, 3))
    np.testing.assert_allclose(small.grey, across, atol=0.01)
