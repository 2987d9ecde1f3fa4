# SPDX-License-Identifier: Apache-2.0
"""The order of things when views are compared: who is asked, again without whom, at whose poses, and what is said."""

from dataclasses import replace

import numpy as np
import pytest
from papered import SLANTED, SMALL, bent, pose, posed

from da3_ros.estimation.refinement import RefinementConfig
from da3_ros.estimation.refinement import views as module
from da3_ros.estimation.refinement.bearings import Corrected
from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.level import Level, smaller
from da3_ros.estimation.refinement.sweep import Found, Rules, Steps
from da3_ros.estimation.refinement.told import Told
from da3_ros.estimation.refinement.views import evidence_of_views

H, W = SMALL.height, SMALL.width
CONFIG = RefinementConfig(hypotheses=20, reach=0.4)
BEND = bent(by=0.1)


def three():
    return [posed([SLANTED], at, BEND) for at in (pose(0, 0, 0), pose(0.25, 0, 0), pose(0.1, -0.2, 0))]


def told(view, count=1):
    rows = np.arange(count)
    return Told(view, Evidence.of(rows, rows, np.ones(count), np.ones(count), "views"), Evidence.none())


class Course:
    """Each step is told what it finds, and keeps what it was asked."""

    def __init__(self, monkeypatch, common=lambda pair, level: True, corrections=()):
        self.levels, self.stereo, self.swept = [], [], []
        self.corrections, self.asked = iter(corrections), []
        monkeypatch.setattr(module.Level, "of", self.level)
        monkeypatch.setattr(module, "_in_common", lambda frames, pair, level, texture: common(pair, level))
        monkeypatch.setattr(module, "_corrected", self.corrected)
        monkeypatch.setattr(module, "by_stereo", self.by_stereo)
        monkeypatch.setattr(module, "by_sweep", self.by_sweep)

    def level(self, frames, pairs, steps, rules, sweeper):
        self.levels.append((frames, list(pairs), steps, rules, sweeper))
        return ("level", len(self.levels) - 1)

    def corrected(self, views, frames, level, pairs):
        self.asked.append((level, list(pairs)))
        return next(self.corrections, (None, set()))

    def by_stereo(self, views, pair, turned, first, config):
        self.stereo.append((views, pair, first, config))
        return [told(k, 3) for k in pair]

    def by_sweep(self, views, coarse, first, pairs, rules, sweeper):
        self.swept.append((views, coarse, first, pairs))
        return [told(k, 5) for k in sorted({i for i, _ in pairs})]


ALL = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]


def test_pairs_side_by_side_are_matched_and_all_others_swept(monkeypatch):
    course, views = Course(monkeypatch), three()
    seen = evidence_of_views(views, CONFIG, "sweeper")
    ((frames, pairs, steps, rules, sweeper),) = course.levels
    assert (pairs, rules, sweeper) == (ALL, Rules(), "sweeper")
    assert [frame.grey.shape for frame in frames] == [(49, 63)] * 3
    expected = Steps.within(0.4, frames[0], frames[1:], 1.4, 20)
    assert steps(frames[0], frames[1:]) == expected
    ((_, pair, first, config),) = course.stereo
    assert (pair, first, config) == ((0, 1), ("level", 0), CONFIG)
    assert course.swept[0][2:] == (("level", 0), [(0, 2), (1, 2), (2, 0), (2, 1)])
    assert [len(each) for each in seen.evidence] == [8, 8, 5]
    assert (seen.message, seen.wrong, [len(each) for each in seen.hints]) == ("", frozenset(), [0, 0, 0])


def test_what_is_told_goes_to_the_view_that_it_is_about(monkeypatch):
    """Also where some place is not known."""
    Course(monkeypatch)
    a, b, c = three()
    seen = evidence_of_views([None, a, None, c], CONFIG)
    assert [len(each) for each in seen.evidence] == [0, 5, 0, 5]
    seen = evidence_of_views([b, None, None], CONFIG)
    assert [len(each) for each in seen.evidence] == [0, 0, 0]
    assert seen.message == ""


def test_of_two_views_that_have_nothing_in_common_nothing_is_told(monkeypatch):
    course = Course(monkeypatch, lambda pair, level: False)
    seen = evidence_of_views(three()[:2], CONFIG)
    assert (len(course.levels), course.stereo, course.swept, seen.message) == (1, [], [], "")


def test_pairs_of_three_are_asked_alone_before_they_are_given_up(monkeypatch):
    """And the first level is done again without those that have nothing in common even then."""
    course = Course(monkeypatch, lambda pair, level: 2 not in pair or (level[1] > 0 and 1 in pair))
    evidence_of_views(three(), CONFIG)
    assert [pairs for _, pairs, *_ in course.levels] == [
        ALL, [(0, 2), (2, 0)], [(1, 2), (2, 1)], [(0, 1), (1, 0), (1, 2), (2, 1)]
    ]  # fmt: skip
    assert course.asked == [(("level", 3), [(0, 1), (1, 0), (1, 2), (2, 1)])]
    course = Course(monkeypatch, lambda pair, level: level[1] > 0 or 2 not in pair)
    evidence_of_views(three(), CONFIG)
    assert len(course.levels) == 3  # all is sound: the first level stands
    assert course.asked[0][0] == ("level", 0)


def corrected(before, poses=None):
    poses = poses or [view.frame.pose @ pose(0.001, 0, 0) for view in three()]
    return Corrected(poses, np.zeros(3), before, {})


@pytest.mark.parametrize(("before", "again"), [(0.34, False), (0.36, True)])
def test_poses_that_are_corrected_by_much_are_swept_again(monkeypatch, before, again):
    found = corrected(before)
    course = Course(monkeypatch, corrections=[(found, set())])
    evidence_of_views(three(), CONFIG)
    assert len(course.levels) == (2 if again else 1)
    assert course.swept[0][2] == ("level", 1 if again else 0)
    for views in (course.swept[0][0], course.stereo[0][0]):
        for view, expected in zip(views, found.poses, strict=True):
            np.testing.assert_array_equal(view.frame.pose, expected)
    for frame, expected, given in zip(course.swept[0][1], found.poses, three(), strict=True):
        np.testing.assert_array_equal(frame.pose, expected if again else given.frame.pose)


def test_pairs_that_are_wrong_go_and_the_rest_is_asked_again(monkeypatch):
    wrong = {(0, 1), (1, 0)}
    course = Course(monkeypatch, corrections=[(corrected(0.9), wrong), (None, set())])
    seen = evidence_of_views([None, *three()], CONFIG)
    rest = [pair for pair in ALL if pair not in wrong]
    assert [pairs for _, pairs, *_ in course.levels] == [ALL, rest]
    assert course.asked == [(("level", 0), ALL), (("level", 1), rest)]
    assert seen.message == "1 pair(s) of views do not match at their poses: calibrate anew"
    assert seen.wrong == frozenset({1, 2})
    assert course.stereo == []
    assert course.swept[0][3] == rest
    for view, given in zip(course.swept[0][0], three(), strict=True):
        np.testing.assert_array_equal(view.frame.pose, given.frame.pose)  # of what was thrown away nothing is kept


def test_where_all_pairs_are_wrong_nothing_is_told(monkeypatch):
    course = Course(monkeypatch, corrections=[(None, set(ALL))])
    seen = evidence_of_views(three(), CONFIG)
    assert seen.message == "3 pair(s) of views do not match at their poses: calibrate anew"
    assert seen.wrong == frozenset({0, 1, 2})
    assert course.stereo == course.swept == []
    assert [len(each) for each in seen.evidence] == [0, 0, 0]


def test_a_sentence_counts_pairs():
    assert module._told(set()) == ""
    assert module._told({(0, 1)}).startswith("1 pair(s)")
    assert module._told({(0, 1), (1, 0), (2, 3), (3, 2)}).startswith("2 pair(s)")


def test_of_a_pair_either_order_may_be_there():
    assert module._of({(0, 1): 0.3, (2, 1): 0.2}, (1, 0)) == [0.3]
    assert module._of({(0, 1): 0.3, (1, 0): 0.2}, (1, 0)) == [0.2, 0.3]
    assert module._of({(0, 1): 0.3}, (0, 2)) == [0.0]


@pytest.mark.parametrize(("counts", "is_common"), [((0.11, 0.0), True), ((0.0, 0.11), True), ((0.09, 0.09), False)])
def test_views_have_in_common_what_more_than_a_tenth_of_the_textured_pixels_agree_on(counts, is_common):
    """Of those that the other one sees; in one of the two at least."""
    frames = [smaller(view) for view in three()[:2]]
    texture = [np.zeros(frame.grey.shape, bool) for frame in frames]
    texture[0][:20], texture[1][5:40] = True, True
    numbers = {}
    for pair, share in zip(((0, 1), (1, 0)), counts, strict=True):
        view = module.Projection.between(frames[pair[0]], frames[pair[1]])
        seen = view.inside(*view(np.exp(frames[pair[0]].log_depth))) & texture[pair[0]]
        assert 100 < seen.sum() < texture[pair[0]].sum()
        numbers[pair] = round(share * seen.sum())
    level = Level([], [], numbers)
    assert module._in_common(frames, (0, 1), level, texture) is is_common
    blank = [np.zeros_like(mask) for mask in texture]
    assert not module._in_common(frames, (0, 1), Level([], [], {(0, 1): 0, (1, 0): 0}), blank)


class Bearings:
    """What pixels say of the poses is told."""

    def __init__(self, monkeypatch, beside, off=(0, 0, 0), left=None):
        self.given = []
        monkeypatch.setattr(
            module, "offsets_between", lambda frames, i, j, *rest: self.given.append((i, j, *rest)) or (i, j)
        )
        monkeypatch.setattr(module, "beside_lines", lambda frames, pair: beside.get(pair, 0.0))
        answer = Corrected(["poses"], np.array(off, float), 0.5, left or {})
        monkeypatch.setattr(
            module, "correct_poses", lambda frames, offsets, sigma: self.given.append((offsets, sigma)) or answer
        )
        self.answer = answer

    def ask(self):
        views = [replace(view, sigma=(0.01 * k, 0.02)) for k, view in enumerate(three())]
        frames = [smaller(view) for view in views]
        shape = frames[0].grey.shape
        found = [
            Found(frame.log_depth, np.ones(shape, bool), np.ones(shape), np.zeros(shape, bool)) for frame in frames
        ]
        self.level = Level(found, [np.full(shape, bool(k)) for k in range(3)], {})
        return module._corrected(views, frames, self.level, ALL)


def test_poses_are_corrected_where_a_pair_is_a_tenth_of_a_pixel_beside_its_lines(monkeypatch):
    none = Bearings(monkeypatch, {(0, 1): 0.099})
    assert none.ask() == (None, set())
    some = Bearings(monkeypatch, {(0, 1): 0.1})
    assert some.ask() == (some.answer, set())
    offsets, sigma = some.given[-1]
    assert offsets == ALL
    assert sigma == [(0.0, 0.02), (0.01, 0.02), (0.02, 0.02)]
    for i, j, log_depth, agreed, window in sorted(some.given[:-1], key=lambda each: each[:2]):
        assert (i, j) in ALL
        assert log_depth is some.level.found[i].log_depth
        assert agreed is some.level.agreed[i]
        assert window == 7
    monkeypatch.setattr(module, "offsets_between", lambda *given: None)
    assert module._corrected([], [], some.level, []) == (None, set())


@pytest.mark.parametrize(("off", "left", "wrong"), [
    ((0, 0, 2.9), {}, set()), ((0, 0, 3.1), {}, {(0, 2), (1, 2), (2, 0), (2, 1)}),
    ((0, 0, 0), {(0, 1): 0.24}, set()), ((0, 0, 0), {(0, 1): 0.26}, {(0, 1), (1, 0)}),
])  # fmt: skip
def test_pairs_that_no_small_correction_mends_are_wrong(monkeypatch, off, left, wrong):
    """A pose that is off by more than three standard deviations, or a quarter of a pixel that is left."""
    assert Bearings(monkeypatch, {(0, 1): 0.3}, off, left).ask()[1] == wrong
