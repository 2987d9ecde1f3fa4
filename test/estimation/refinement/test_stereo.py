# SPDX-License-Identifier: Apache-2.0
"""A pair side by side: how it is turned, and depth of both of its views."""

from dataclasses import replace

import numpy as np
import pytest
from papered import NETWORK, SLANTED, SMALL, Sheet, frame, large, pose

from da3_ros.estimation.refinement.frame import Projection
from da3_ros.estimation.refinement.stereo import _seen_from_b, match, rectification
from da3_ros.geometry.poses import invert, rotation_angle, transform

A, B = pose(0, 0, 0, turn=(0.5, 1, 0.5)), pose(0.2, 0.01, -0.01, turn=(-0.5, -1.5, -1))
"""As a rig has them: roughly parallel."""


def matched(sheets, a=A, b=B, *, wrong=0.1, camera=SMALL, reach=0.5, factor=3):
    """What a pair says of both views, and their true log depths."""
    frames = [frame(sheets, camera, at, wrong) for at in (a, b)]
    images = [large(sheets, camera, at) for at in (a, b)]
    if factor == 1:
        images = [np.rint(view.grey).astype(np.uint8) for view in frames]
    told = match(*frames, *images, rectification(a, b), reach)
    return told, [view.log_depth - np.float32(wrong) for view in frames], frames


def seen_by_the_other(frames, depths, i):
    view = Projection.between(frames[i], frames[1 - i])
    return view.inside(*view(np.exp(depths[i])))


def test_rows_become_epipolar_lines():
    turned = rectification(A, B)
    points = np.random.default_rng(0).uniform((-1, -1, 1), (1, 1, 4), (50, 3))
    a, b = (transform(invert(at), points) @ turn.T for at, turn in ((A, turned.turn_a), (B, turned.turn_b)))
    np.testing.assert_allclose(a[:, 1:], b[:, 1:], atol=1e-9)  # one height, one depth
    np.testing.assert_allclose(a[:, 0] - b[:, 0], turned.baseline, atol=1e-9)
    assert turned.baseline == pytest.approx(np.linalg.norm(A[:3, 3] - B[:3, 3]))
    for turn in (turned.turn_a, turned.turn_b):
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        assert np.degrees(rotation_angle(turn)) < 6


def test_the_world_does_not_matter():
    world = pose(3, -2, 1, turn=(20, 100, -30))
    here, there = rectification(A, B), rectification(world @ A, world @ B)
    np.testing.assert_allclose(here.turn_a, there.turn_a, atol=1e-9)
    np.testing.assert_allclose(here.turn_b, there.turn_b, atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "b"),
    [
        ("a is the right one", pose(-0.2, 0, 0)),
        ("above", pose(0, 0.2, 0)),
        ("before", pose(0, 0, 0.2)),
        ("askew", pose(0.2, 0.06, 0)),
        ("half before", pose(0.2, 0, 0.06)),
        ("at an angle", pose(0.2, 0, 0, turn=(0, 14, 0))),
        ("rolled", pose(0.2, 0, 0, turn=(0, 0, 14))),
        ("at one place", pose(0, 0, 0)),
        ("face to face", pose(0.2, 0, 0, turn=(0, 180, 0))),
    ],
)
def test_cameras_that_do_not_stand_side_by_side_are_none(kind, b):
    assert rectification(pose(0, 0, 0), b) is None, kind


@pytest.mark.parametrize("turn", [(0, 5, 0), (5, 0, 0), (0, 0, 5)])
def test_a_few_degrees_do(turn):
    assert rectification(pose(0, 0, 0), pose(0.2, 0, 0, turn=turn)) is not None


def test_both_are_turned_alike():
    """Ten degrees between them are five for each."""
    turned = rectification(pose(0, 0, 0, turn=(5, 0, 0)), pose(0.2, 0, 0, turn=(-5, 0, 0)))
    angles = [np.degrees(rotation_angle(turn)) for turn in (turned.turn_a, turned.turn_b)]
    np.testing.assert_allclose(angles, 5, atol=1e-6)


@pytest.mark.parametrize("wrong", [0.3, 0.0, -0.3])
def test_depth_of_both_views_is_right(wrong):
    told, depths, frames = matched([SLANTED], wrong=wrong)
    for i in (0, 1):
        seen = seen_by_the_other(frames, depths, i)
        assert told[i].accepted[seen].mean() > 0.9
        off = np.abs(told[i].log_depth - depths[i])[told[i].accepted]
        assert np.median(off) < 0.005
        assert np.percentile(off, 95) < 0.02
        assert told[i].log_depth.shape == depths[i].shape
        # f b / z pixels of the large image for a change of 1
        expected = 3 * SMALL.fx * rectification(A, B).baseline / np.exp(depths[i])
        np.testing.assert_allclose(told[i].pixels_per_log[seen & told[i].accepted].mean(), expected.mean(), rtol=0.1)


def test_nothing_is_accepted_where_only_one_sees():
    # One metre wide they see, from 0.35 m apart: a third of it each sees alone.
    told, depths, frames = matched([SLANTED], pose(0, 0, 0), pose(0.7, 0, 0), reach=0.7)
    for i in (0, 1):
        seen = seen_by_the_other(frames, depths, i)
        assert 0.3 < seen.mean() < 0.8
        assert told[i].accepted[~seen].mean() < 0.03
        assert told[i].accepted[seen].mean() > 0.8
        assert np.median(np.abs(told[i].log_depth - depths[i])[told[i].accepted]) < 0.01


def test_views_that_look_apart_accept_nothing():
    """The search is for a wall that is near: no pixel has its partner in the other image."""
    told, _, _ = matched([Sheet((0, 0, 0.3))], pose(0, 0, 0), pose(0.9, 0, 0), wrong=0.0)
    assert max(view.accepted.mean() for view in told) < 0.02


def test_the_nearer_surface_hides_the_farther_one():
    board = Sheet((0.05, 0, 1.3), half=(0.2, 0.25), paper=5)
    told, depths, _ = matched([board, Sheet((0, 0, 2.2))], wrong=0.1)
    for view, depth in zip(told, depths, strict=True):
        off = np.abs(view.log_depth - depth)[view.accepted]
        assert (off > 0.1).mean() < 0.06
        on_it = depth < np.log(1.5)
        assert view.accepted[on_it].mean() > 0.8
        assert np.median(np.abs(view.log_depth - depth)[view.accepted & on_it]) < 0.01


def test_the_search_ends_at_its_reach():
    """What is farther is not found, though matching may take something nearer for it: `views` asks the sweep, too."""
    told, depths, frames = matched([SLANTED], wrong=-0.8, reach=0.2)
    for view, depth, given in zip(told, depths, frames, strict=True):
        assert view.log_depth[view.accepted].max() < given.log_depth.max() + 0.2 + 0.05
        assert (np.abs(view.log_depth - depth)[view.accepted] < 0.1).mean() < 0.02
    told, depths, _ = matched([SLANTED], wrong=-0.8, reach=1.0)
    assert (np.abs(told[0].log_depth - depths[0])[told[0].accepted] < 0.1).mean() > 0.95


def test_larger_images_are_more_exact():
    off = {}
    for factor in (1, 3):
        told, depths, _ = matched([SLANTED], factor=factor)
        off[factor] = np.median(np.abs(told[0].log_depth - depths[0])[told[0].accepted])
    assert off[3] < 0.6 * off[1]


def test_a_long_range_is_cut_at_its_near_end():
    """Disparities up to 256 pixels are searched, from the farthest on."""
    near_right = [replace(SLANTED, across=(1, 0, -0.3))]
    frames = [frame(near_right, NETWORK, at, 0.0) for at in (pose(0, 0, 0), pose(0.9, 0, 0))]
    images = [large(near_right, NETWORK, view.pose) for view in frames]
    turned = rectification(frames[0].pose, frames[1].pose)
    told = match(*frames, *images, turned, 2.0)[0]
    disparity = 600 * 0.9 / np.exp(frames[0].log_depth)
    farthest = 600 * 0.9 / np.exp(frames[0].log_depth.max() + 2)
    far = (disparity < farthest + 250) & seen_by_the_other(frames, [view.log_depth for view in frames], 0)
    assert far.mean() > 0.15
    assert told.accepted[far].mean() > 0.8
    assert disparity.max() > farthest + 260
    assert told.pixels_per_log.max() < farthest + 256
    assert np.median(np.abs(told.log_depth - frames[0].log_depth)[told.accepted]) < 0.004


def test_cameras_of_two_kinds():
    """The second one has another focal length and another size."""
    other = replace(SMALL, width=100, height=80, fx=110.0, fy=110.0, cx=50.0, cy=38.0)
    frames = [frame([SLANTED], SMALL, A, 0.1), frame([SLANTED], other, B, 0.1)]
    images = [large([SLANTED], SMALL, A), large([SLANTED], other, B)]
    told = match(*frames, *images, rectification(A, B), 0.5)
    depths = [view.log_depth - np.float32(0.1) for view in frames]
    for i, (view, true) in enumerate(zip(told, frames, strict=True)):
        assert view.log_depth.shape == true.grey.shape
        seen = seen_by_the_other(frames, depths, i)
        assert view.accepted[seen].mean() > 0.8
        assert view.accepted[~seen].sum() < 0.05 * seen.sum()  # the second one looks at a part only
        assert np.median(np.abs(view.log_depth - true.log_depth + np.float32(0.1))[view.accepted]) < 0.006


def test_the_second_view_gets_what_the_first_one_sees():
    """Each value where it is seen from there, lines that stay free from beside them, nothing elsewhere."""
    disparity = np.zeros((3, 60), np.float32)
    disparity[:, 20:50] = np.linspace(4, 9, 30)
    disparity[1, 30:34] = 12
    back = _seen_from_b(disparity)
    for row, column in ((0, 20), (2, 41), (1, 31), (1, 45)):
        there = int(np.rint(column - disparity[row, column]))
        assert back[row, there] == disparity[row, column]
    assert (back[0, 16:41] > 0).all()
    assert back[0, :15].max() == back[0, 43:].max() == 0
    assert (back[1, 18:22] == 12).all()  # the nearer surface, before what it hides there
