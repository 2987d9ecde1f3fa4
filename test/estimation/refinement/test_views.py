# SPDX-License-Identifier: Apache-2.0
"""Evidence of rendered views: beside each other and elsewhere, at poses that are right, nearly right, and wrong."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from papered import NETWORK, SLANTED, SMALL, Sheet, bent, pose, posed, render, stripes, wallpaper

from da3_ros.estimation.refinement import RefinementConfig, told
from da3_ros.estimation.refinement import views as module
from da3_ros.estimation.refinement.pairs import OF_MANY, worthwhile
from da3_ros.estimation.refinement.told import LARGEST_SIGMA
from da3_ros.estimation.refinement.views import evidence_of_views

H, W = SMALL.height, SMALL.width
CONFIG = RefinementConfig()
BEND = bent(by=0.2)
ROOM = [
    Sheet((0.15, 0.1, 1.3), half=(0.2, 0.2), paper=7),
    Sheet((0, 0.7, 2), down=(0, 0, 1), paper=3),
    replace(SLANTED, centre=(0, 0, 2.6)),
]
KINDS = {
    "beside": (pose(0, 0, 0), pose(0.25, 0, 0, turn=(0, -2, 0))),
    "above": (pose(0, 0, 0), pose(0.02, -0.2, 0.1)),
    "three": (pose(0, 0, 0), pose(0.25, 0, 0), pose(0.1, -0.2, 0, turn=(-3, 0, 0))),
}


def seen_in(kind, sheets=SLANTED, **more):
    sheets = [sheets] if isinstance(sheets, Sheet) else sheets
    return [posed(sheets, at, BEND, **more) for at in KINDS[kind]]


def told_at(view, by):
    """The view with a pose that is off by some transform in its own axes."""
    return replace(view, frame=replace(view.frame, pose=view.frame.pose @ by))


def off(evidence, view):
    """|error| (N,) of log depth of each piece."""
    truth = view.frame.log_depth - BEND
    return np.abs(evidence.log_depth - truth[evidence.rows, evidence.columns])


def share(evidence):
    """Of the pixels that have some."""
    return len(set(zip(evidence.rows.tolist(), evidence.columns.tolist(), strict=True))) / (H * W)


@pytest.mark.parametrize("sheets", [SLANTED, ROOM], ids=["wall", "room"])
@pytest.mark.parametrize("kind", KINDS)
def test_most_of_what_views_share_is_measured(kind, sheets):
    views = seen_in(kind, sheets)
    found = evidence_of_views(views, CONFIG)
    assert (found.message, found.wrong) == ("", frozenset())
    for evidence, view in zip(found.evidence, views, strict=True):
        assert share(evidence) > 0.6
        assert evidence.counts().keys() == {"views"}
        if kind != "three":  # two ways of measuring
            assert len(evidence) == round(share(evidence) * H * W)
        errors = off(evidence, view)
        assert np.median(errors) < 0.01
        assert (errors > 0.05).mean() < 0.02
        assert (errors < evidence.sigma).mean() > 0.68  # it is at least as sure as it says
        assert np.median(evidence.sigma) < 0.05
        assert evidence.sigma.max() < LARGEST_SIGMA


def test_what_each_view_says_does_not_hang_on_their_order():
    views = seen_in("three", ROOM)
    here = evidence_of_views(views, CONFIG).evidence
    there = evidence_of_views(views[::-1], CONFIG).evidence[::-1]
    for a, b in zip(here, there, strict=True):
        assert share(a) == pytest.approx(share(b), abs=0.01)
        for name in ("rows", "columns", "log_depth", "sigma"):
            np.testing.assert_allclose(np.sort(getattr(a, name)), np.sort(getattr(b, name)), rtol=1e-3)


def test_pairs_side_by_side_are_matched_at_large_others_are_swept():
    """Views of other moments may have moved: these are never rectified."""
    beside = seen_in("beside")
    moved = [replace(view, body=i) for i, view in enumerate(beside)]
    at_large, swept = (evidence_of_views(views, CONFIG).evidence[0] for views in (beside, moved))
    assert np.median(at_large.sigma) < 0.7 * np.median(swept.sigma)
    assert np.median(off(at_large, beside[0])) < 0.7 * np.median(off(swept, beside[0]))
    # The large images are what counts for the one, and nothing for the other.
    grey = [replace(view, large=np.full_like(view.large, 128)) for view in beside]
    assert len(evidence_of_views(grey, CONFIG).evidence[0]) == 0
    same = evidence_of_views([replace(view, body=i) for i, view in enumerate(grey)], CONFIG).evidence[0]
    np.testing.assert_array_equal(same.log_depth, swept.log_depth)


@pytest.mark.parametrize("kind", KINDS)
def test_crossed_images_give_no_evidence(kind):
    views = seen_in(kind, ROOM)
    crossed = [
        replace(a, large=b.large, frame=replace(a.frame, grey=b.frame.grey))
        for a, b in zip(views, views[1:] + views[:1], strict=True)
    ]
    assert max(share(evidence) for evidence in evidence_of_views(crossed, CONFIG).evidence) < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_mirrored_images_give_no_evidence(kind):
    mirrored = [
        replace(
            view,
            large=np.ascontiguousarray(view.large[:, ::-1]),
            frame=replace(view.frame, grey=np.ascontiguousarray(view.frame.grey[:, ::-1])),
        )
        for view in seen_in(kind, ROOM)
    ]
    assert max(share(evidence) for evidence in evidence_of_views(mirrored, CONFIG).evidence) < 0.01


@pytest.mark.parametrize("by", [(2, 0, 0), (0, 2, 0), (0, 0, 2), (-1.2, 1.2, 1.2)])
@pytest.mark.parametrize("kind", ["beside", "above"])
def test_a_knocked_camera_gives_no_evidence(kind, by):
    """By 2 degrees and 3 cm. Where too little is left in common to tell, nothing is said of it."""
    a, b = seen_in(kind, ROOM)
    move = {"beside": (0, 0.03, 0), "above": (0.03, 0, 0)}[kind]
    found = evidence_of_views([a, told_at(b, pose(*move, turn=by))], CONFIG)
    assert [len(evidence) for evidence in found.evidence] == [0, 0]
    if by == (0, 0, 2):
        assert found.message == "1 pair(s) of views do not match at their poses: calibrate anew"
        assert found.wrong == {0, 1}


def test_the_others_are_measured_as_well_without_a_knocked_camera():
    """What is wrong with one must not go into the poses of the others."""
    views = seen_in("three", ROOM)
    right = evidence_of_views(views[:2], CONFIG).evidence
    found = evidence_of_views([*views[:2], told_at(views[2], pose(0, 0.03, 0, turn=(0, 0, 2)))], CONFIG)
    assert found.message == "2 pair(s) of views do not match at their poses: calibrate anew"
    assert found.wrong == {0, 1, 2}  # any of them may be it
    assert len(found.evidence[2]) == 0
    for own, alone, view in zip(found.evidence, right, views, strict=False):
        assert share(own) > 0.95 * share(alone)
        assert np.median(off(own, view)) < 1.2 * np.median(off(alone, view))


def test_what_is_found_wrong_later_is_wrong_as_well(monkeypatch):
    """Each time that some are left out, the others are looked at again."""
    answers = [{(0, 2), (2, 0)}, {(1, 2), (2, 1)}, set()]
    asked = []

    def corrected(posed, coarse, first, pairs):
        asked.append(set(pairs))
        return None, answers[len(asked) - 1]

    monkeypatch.setattr(module, "_corrected", corrected)
    found = evidence_of_views([None, *seen_in("three")], CONFIG)
    assert [len(pairs) for pairs in asked] == [6, 4, 2]
    assert found.wrong == {1, 2, 3}
    assert found.message.startswith("2 pair(s)")
    assert [len(evidence) > 0 for evidence in found.evidence] == [False, True, True, False]


def test_a_view_that_shows_something_else_is_left_out():
    """Where it should see the same: it has no say in the others' scores."""
    a, b, c = (replace(view, body=i) for i, view in enumerate(seen_in("three")))
    other = posed([replace(SLANTED, paper=77)], KINDS["three"][2], BEND, body=2)
    alone = evidence_of_views([a, b], CONFIG).evidence
    found = evidence_of_views([a, b, other], CONFIG)
    assert (found.message, found.wrong, len(found.evidence[2])) == ("", frozenset(), 0)
    for k in (0, 1):
        assert share(found.evidence[k]) > 0.98 * share(alone[k])
    assert len(evidence_of_views([a, b, c], CONFIG).evidence[2]) > 0


def test_a_camera_that_sees_nothing_of_it_is_not_to_blame():
    a, b = seen_in("beside")
    aside = posed([replace(SLANTED, paper=9), Sheet((0, 0, -2), paper=8)], pose(0, 0, 0, turn=(0, 180, 0)), BEND)
    knocked = told_at(b, pose(0, 0.03, 0, turn=(0, 0, 2)))
    found = evidence_of_views([aside, None, a, knocked], CONFIG)
    assert found.wrong == {2, 3}  # of all that were given
    assert [len(evidence) for evidence in found.evidence] == [0, 0, 0, 0]


def test_small_errors_of_calibration_are_mended(monkeypatch):
    """Of a few tenths of a degree and some millimetres: more is measured, and better, at the size of a network."""
    rng, bend = np.random.default_rng(1), bent(NETWORK, 0.2)
    a, b = (posed(ROOM, at, bend, camera=NETWORK, sigma=(np.radians(0.15), 0.005)) for at in KINDS["above"])
    truth = a.frame.log_depth - bend
    errors, counts = {True: [], False: []}, {True: [], False: []}
    for _ in range(6):
        by = pose(*rng.normal(0, 0.003, 3), turn=tuple(rng.normal(0, 0.2, 3)))
        for mended, least in ((True, 0.1), (False, np.inf)):
            monkeypatch.setattr(module, "SMALL_ERROR", least)
            found = evidence_of_views([a, told_at(b, by)], CONFIG)
            assert (found.message, found.wrong) == ("", frozenset())
            own = found.evidence[0]
            errors[mended].append(np.median(np.abs(own.log_depth - truth[own.rows, own.columns])))
            counts[mended].append(len(own))
    assert np.mean(errors[True]) < 0.75 * np.mean(errors[False])
    assert np.mean(counts[True]) > 1.02 * np.mean(counts[False])


def test_lines_that_do_not_fit_are_mended_for_pairs_side_by_side():
    """A third of a degree about the baseline moves rows by more than a pixel of the large images."""
    a, b = seen_in("beside", ROOM, sigma=(np.radians(0.3), 0.005))
    right = evidence_of_views([a, b], CONFIG).evidence[0]
    found = evidence_of_views([a, told_at(b, pose(0, 0, 0, turn=(0.35, 0, 0)))], CONFIG).evidence[0]
    assert share(found) > 0.9 * share(right)
    assert np.median(off(found, a)) < 3 * found.common  # what turns about y add is in what they share


def test_calibration_that_is_less_sure_says_so():
    """Angles make every piece less sure; what all pieces share is told apart."""
    told = {}
    for angle, metres in ((0.05, 0.001), (0.05, 0.02), (0.4, 0.001)):
        views = seen_in("above", sigma=(np.radians(angle), metres))
        told[angle, metres] = evidence_of_views(views, CONFIG).evidence[0]
    sure, moved, turned = told.values()
    baseline = np.linalg.norm(KINDS["above"][1][:3, 3])
    per_log = SMALL.fx * baseline / 2  # pixels, at two metres
    assert sure.common == pytest.approx(np.hypot(0.001 / baseline, SMALL.fx * np.radians(0.05) / per_log), rel=0.3)
    assert moved.common == pytest.approx(0.02 / baseline, rel=0.1)
    assert turned.common == pytest.approx(SMALL.fx * np.radians(0.4) / per_log, rel=0.3)
    np.testing.assert_allclose(np.median(moved.sigma), np.median(sure.sigma), rtol=0.05)
    assert np.median(turned.sigma) > 2 * np.median(sure.sigma)


@pytest.mark.parametrize(("angle", "rest"), [(0.4, 0.1), (0.05, 0.1)])
def test_so_it_is_for_pairs_side_by_side(angle, rest):
    """In pixels of the view: a tenth of one is left of matching in images three times as large."""
    own = evidence_of_views(seen_in("beside", sigma=(np.radians(angle), 0.001)), CONFIG).evidence[0]
    per_log = SMALL.fx * 0.25 / 2
    assert np.median(own.sigma) == pytest.approx(np.hypot(rest, SMALL.fx * np.radians(angle)) / per_log, rel=0.2)
    assert own.common == pytest.approx(np.hypot(0.001 / 0.25, SMALL.fx * np.radians(angle) / per_log), rel=0.2)


def test_the_nearest_witness_tells_how_far_a_place_may_be_off():
    """Among several that were taken together: what 2 cm are to a tenth of a metre."""
    sigma = np.radians(0.01), 0.02
    row = [posed([SLANTED], pose(0, y, 0), BEND, sigma=sigma, body=i) for i, y in enumerate((0, -0.1, -0.4))]
    assert evidence_of_views(row, CONFIG).evidence[0].common == pytest.approx(0.2, rel=0.05)


def test_weak_parallax_weighs_little():
    """An eighth of the baseline makes depth eight times less sure; where it is a guess, it is left out."""
    found = {}
    for baseline in (0.4, 0.1, 0.02):
        views = [posed([SLANTED], pose(0, y, 0), BEND) for y in (0.0, -baseline)]
        found[baseline] = evidence_of_views(views, CONFIG).evidence[0]
    assert np.median(found[0.1].sigma) == pytest.approx(4 * np.median(found[0.4].sigma), rel=0.25)
    assert len(found[0.02]) == 0  # it would move a pixel by 1 for a change of log depth by 1


@pytest.mark.parametrize(("wrong", "used"), [(0.05, True), (0.3, False)])
def test_where_both_ways_of_matching_are_at_odds_neither_is_believed(wrong, used, monkeypatch):
    """Semi-global matching and the sweep: where they differ in more than a few pixels the texture repeats."""
    match = told.match

    def spoilt(*given):
        return tuple(
            replace(told, log_depth=told.log_depth + np.float32(0.2) * (np.arange(H) < wrong * H)[:, None])
            for told in match(*given)
        )

    monkeypatch.setattr(told, "match", spoilt)
    found = evidence_of_views(seen_in("beside"), CONFIG).evidence
    assert [len(own) > 0 for own in found] == [used, used]


def test_a_fence_gives_no_evidence():
    """Its stripes stand where the next ones would be, too, within reach of the network's depth."""
    fence = replace(SLANTED, paper=stripes(10))
    for kind, at in (("beside", pose(0.4, 0, 0)), ("behind", pose(0.4, 0.1, 0.05))):
        found = evidence_of_views([posed([fence], view, BEND) for view in (pose(0, 0, 0), at)], CONFIG)
        assert max(share(evidence) for evidence in found.evidence) < 0.03, kind


def test_a_part_that_repeats_is_not_mistaken():
    """A fence before a papered wall: its ends may tell which stripe is which, else it says nothing."""
    fence = Sheet((0.1, 0, 1.9), across=(1, 0, 0.3), half=(0.35, 0.4), paper=stripes(10))
    views = [posed([fence, SLANTED], at, BEND) for at in (pose(0, 0, 0), pose(0.4, 0, 0))]
    for own, view in zip(evidence_of_views(views, CONFIG).evidence, views, strict=True):
        assert share(own) > 0.3
        assert (off(own, view) > 0.05).mean() < 0.02


def test_a_blank_wall_does_not_get_the_depth_of_what_stands_before_it(monkeypatch):
    """A dim post before the bare part of a papered wall: its outline is matched on both sides of its edge."""
    paper = wallpaper(3)
    y, x = np.indices(paper.shape)
    bare = np.clip((np.hypot(y - 300, x - 450) - 25) / 12, 0, 1)
    wall = replace(SLANTED, paper=(100 + bare * (paper - 100)).astype(np.float32))
    post = Sheet((0.05, 0, 1.6), half=(0.09, 0.2), paper=90 + 0.12 * (wallpaper(5) - 128))
    views = [posed([post, wall], at, BEND) for at in KINDS["beside"]]

    def wrong():
        found = evidence_of_views(views, CONFIG).evidence
        return [(off(own, view) > 0.05).mean() for own, view in zip(found, views, strict=True)]

    careful = wrong()
    assert max(careful) < 0.003
    monkeypatch.setattr(told, "OUTLINE", 0)
    assert min(wrong()) > 2 * max(careful)


def test_a_part_without_texture_gives_none():
    """Matching side by side goes on over it: between its borders it guesses."""
    board = Sheet((0.1, 0, 1.7), half=(0.3, 0.3), paper=np.full((600, 900), 128, np.float32))
    for kind in ("beside", "above"):
        views = [posed([board, SLANTED], at, BEND) for at in KINDS[kind]]
        found = evidence_of_views(views, CONFIG).evidence[0]
        told = np.zeros((H, W), bool)
        told[found.rows, found.columns] = True
        depth = np.exp(views[0].frame.log_depth - BEND)
        on_it = cv2.erode((np.abs(depth - 1.7) < 1e-3).astype(np.uint8), np.ones((9, 9))) > 0
        assert on_it.sum() > 300
        assert told[on_it].mean() < 0.02
        assert told.mean() > 0.4


def test_a_plain_wall_gives_no_evidence():
    plain = replace(SLANTED, paper=np.full((600, 900), 128, np.float32))
    noise = np.random.default_rng(0)
    for kind in KINDS:
        views = [
            replace(
                view,
                frame=replace(view.frame, grey=view.frame.grey + noise.normal(0, 1, (H, W)).astype(np.float32)),
                large=np.clip(view.large + noise.normal(0, 2, view.large.shape), 0, 255).astype(np.uint8),
            )
            for view in seen_in(kind, plain)
        ]
        assert max(len(evidence) for evidence in evidence_of_views(views, CONFIG).evidence) < 0.01 * H * W


def test_a_network_that_is_far_off_is_out_of_reach():
    views = [posed([SLANTED], at, 0.45) for at in KINDS["above"]]
    near = evidence_of_views(views, replace(CONFIG, reach=0.2)).evidence
    assert max(share(evidence) for evidence in near) < 0.02
    wide = evidence_of_views(views, replace(CONFIG, reach=0.7)).evidence
    assert min(share(evidence) for evidence in wide) > 0.6


def test_only_those_whose_place_is_known_tell():
    a, b = seen_in("beside")
    for views in ([], [None], [a], [a, None], [None, None]):
        found = evidence_of_views(views, CONFIG)
        assert [len(evidence) for evidence in found.evidence] == [0] * len(views)
        assert (found.message, found.wrong) == ("", frozenset())
    both = evidence_of_views([None, a, b], CONFIG).evidence
    assert [len(evidence) > 0 for evidence in both] == [False, True, True]
    np.testing.assert_array_equal(both[1].log_depth, evidence_of_views([a, b], CONFIG).evidence[0].log_depth)


def test_two_witnesses_are_not_compared_for_their_own_sake():
    a, b, c = seen_in("three")
    wanted = [a, replace(b, wanted=False), replace(c, wanted=False)]
    assert set(worthwhile(wanted)) == {(0, 1), (1, 0), (0, 2), (2, 0)}
    assert set(worthwhile([a, b, c])) == {(i, j) for i in range(3) for j in range(3) if i != j}
    found = evidence_of_views([replace(view, body=i) for i, view in enumerate(wanted)], CONFIG).evidence
    assert [len(evidence) > 0 for evidence in found] == [True, False, False]


def test_views_are_paired_where_it_pays():
    """They must overlap and stand clearly apart, against what is not sure of their places."""
    a, b = seen_in("beside")
    assert worthwhile([a, b]) == [(0, 1), (1, 0)]
    assert worthwhile([a, told_at(b, pose(0, 0, 0, turn=(0, 120, 0)))]) == []
    assert worthwhile([a, replace(b, frame=replace(b.frame, pose=pose(0.002, 0, 0)))]) == []
    unsure = [replace(view, sigma=(0.001, 0.15)) for view in (a, b)]
    assert worthwhile(unsure) == []
    forward = replace(b, frame=replace(b.frame, pose=pose(0, 0, 0.02)))
    assert worthwhile([a, forward]) == []  # hardly a pixel moves


def test_of_many_views_each_is_compared_with_a_few():
    row = [posed([SLANTED], pose(0.1 * i, 0, 0), BEND) for i in range(7)]
    pairs = worthwhile(row)
    assert {(j, i) for i, j in pairs} == set(pairs)
    for i in range(7):
        assert len([pair for pair in pairs if pair[0] == i]) >= OF_MANY
    assert len(pairs) <= 2 * 7 * OF_MANY
    assert len(worthwhile(row[:5])) == 5 * 4


def test_the_size_is_that_of_pairs_side_by_side():
    small, whole = replace(CONFIG, size=64), replace(CONFIG, size=3 * W)
    beside, above = seen_in("beside"), seen_in("above")
    coarse = evidence_of_views(beside, small).evidence[0]
    fine = evidence_of_views(beside, CONFIG).evidence[0]
    assert np.median(off(coarse, beside[0])) > 2 * np.median(off(fine, beside[0]))
    assert np.median(coarse.sigma) > 2 * np.median(fine.sigma)
    np.testing.assert_array_equal(fine.log_depth, evidence_of_views(beside, whole).evidence[0].log_depth)
    np.testing.assert_array_equal(
        evidence_of_views(above, small).evidence[0].log_depth, evidence_of_views(above, CONFIG).evidence[0].log_depth
    )


def test_few_hypotheses_step_over_what_is_there():
    views = [posed([SLANTED], at, 0.2) for at in (pose(0, 0, 0), pose(0.02, -0.4, 0.1))]
    few, many = (
        evidence_of_views(views, replace(CONFIG, hypotheses=count, reach=1.9)).evidence[0] for count in (8, 96)
    )
    assert share(few) < 0.9 * share(many)


def test_a_large_image_may_be_of_any_size():
    views = seen_in("beside")
    camera = SMALL.scaled(5 * W, 5 * H)
    images = [np.rint(render([SLANTED], camera, at)[0]).astype(np.uint8) for at in KINDS["beside"]]
    found = evidence_of_views([replace(v, large=i) for v, i in zip(views, images, strict=True)], CONFIG).evidence[0]
    assert share(found) > 0.6
    assert np.median(off(found, views[0])) < 0.01
    small = [replace(view, large=np.rint(view.frame.grey).astype(np.uint8)) for view in views]
    found = evidence_of_views(small, CONFIG).evidence[0]
    assert share(found) > 0.6
    assert np.median(off(found, views[0])) < 0.02
