# SPDX-License-Identifier: Apache-2.0
"""Planted errors of poses, found from what lies beside the epipolar lines."""

from dataclasses import replace

import numpy as np
import pytest
from papered import SLANTED, SMALL, frame, pose, wallpaper

from da3_ros.estimation.refinement.bearings import (
    Offsets,
    _Lines,
    _small,
    beside_lines,
    correct_poses,
    offsets_between,
)
from da3_ros.estimation.refinement.frame import Projection
from da3_ros.geometry.poses import invert, rotation_angle

TRUE = [pose(0, 0, 0), pose(0.25, 0.03, -0.02, turn=(1, -4, 2))]
SIGMA = [(np.radians(0.3), 0.005)] * 2
TURNS = {"roll": (0, 0, 0.4), "pitch": (0.4, 0, 0)}


@pytest.fixture(scope="module")
def frames():
    """Two views of a slanted wall whose depth varies, at their true poses."""
    return [frame([SLANTED], SMALL, at) for at in TRUE]


def pairs_of(frames, count=200, noise=0.0, seed=0):
    """Corresponding pixels by exact projection at the frames' poses, both ways."""
    rng = np.random.default_rng(seed)
    out = []
    for i, j in ((0, 1), (1, 0)):
        u, v, z = (view := Projection.between(frames[i], frames[j]))(np.exp(frames[i].log_depth))
        rows, columns = np.nonzero(view.inside(u, v, z))
        chosen = rng.permutation(len(rows))[:count]
        rows, columns = rows[chosen], columns[chosen]
        a = np.stack([columns, rows], 1).astype(float) + rng.normal(0, noise, (len(rows), 2))
        out.append(Offsets(i, j, a, np.stack([u[rows, columns], v[rows, columns]], 1).astype(float)))
    return out


def said(frames, turn=(0, 0, 0), move=(0, 0, 0)):
    """The frames with the second one's pose off by a turn in degrees and a move in metres, in its own axes."""
    return [frames[0], replace(frames[1], pose=TRUE[1] @ pose(*move, turn=turn))]


def relative(poses):
    return invert(poses[0]) @ poses[1]


def turn_off(poses):
    return np.degrees(rotation_angle(relative(poses)[:3, :3].T @ relative(TRUE)[:3, :3]))


def direction_off(poses):
    a, b = relative(poses)[:3, 3], relative(TRUE)[:3, 3]
    return np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS.keys())
def test_a_planted_turn_is_found(frames, turn):
    given = said(frames, turn=turn)
    offsets = pairs_of(frames, noise=0.1)
    assert turn_off([view.pose for view in given]) == pytest.approx(0.4, abs=1e-6)
    found = correct_poses(given, offsets, SIGMA)
    assert turn_off(found.poses) < 0.06
    # A turn about the optical axis moves what is far from the middle, one about x all.
    assert found.before == pytest.approx(0.4 * np.pi / 180 * (100 if turn[0] else 30), rel=0.35)
    assert max(found.left.values()) < 0.12
    assert beside_lines(given, offsets[0]) <= found.before
    assert found.left.keys() == {(0, 1), (1, 0)}


@pytest.mark.parametrize("move", [(0, 0.008, 0), (0, 0, 0.012)])
def test_a_move_across_the_baseline_is_found(frames, move):
    sigma = [(np.radians(0.02), 0.01)] * 2  # the angles are right
    given = said(frames, move=move)
    before = direction_off([view.pose for view in given])
    assert before > 1.5
    found = correct_poses(given, pairs_of(frames), sigma)
    assert direction_off(found.poses) < 0.2 * before


def test_the_length_of_the_baseline_is_not_touched(frames):
    """It moves pixels along their lines only: it says nothing, and nothing is made of it."""
    longer = said(frames, move=(TRUE[1][:3, :3].T @ (0.1 * TRUE[1][:3, 3])))
    found = correct_poses(longer, pairs_of(frames), SIGMA)
    assert found.before < 1e-3
    assert max(found.off) < 0.01
    np.testing.assert_allclose(found.poses[1], longer[1].pose, atol=1e-5)
    crooked = said(frames, turn=(0.3, 0, 0), move=(0, 0.003, 0))
    found = correct_poses(crooked, pairs_of(frames), SIGMA)
    lengths = [np.linalg.norm(relative(p)[:3, 3]) for p in (found.poses, [view.pose for view in crooked])]
    assert lengths[0] == pytest.approx(lengths[1], abs=1e-4)


def test_right_poses_stay_as_they_are(frames):
    found = correct_poses(frames, pairs_of(frames), SIGMA)
    assert found.before < 1e-3
    for own, true in zip(found.poses, TRUE, strict=True):
        np.testing.assert_allclose(own, true, atol=1e-5)


def test_both_poses_share_the_blame_by_how_sure_they_are(frames):
    given = said(frames, turn=(0.4, 0, 0))
    half = correct_poses(given, pairs_of(frames), SIGMA)
    np.testing.assert_allclose(half.off[0], half.off[1], rtol=0.1)
    assert np.degrees(rotation_angle(half.poses[0][:3, :3])) == pytest.approx(0.2, abs=0.06)
    fixed = correct_poses(given, pairs_of(frames), [(1e-6, 1e-6), SIGMA[1]])
    np.testing.assert_allclose(fixed.poses[0], TRUE[0], atol=1e-4)
    assert turn_off(fixed.poses) < 0.06


def test_how_far_off_a_pose_was_is_said_in_its_standard_deviations(frames):
    one = correct_poses(said(frames, turn=(0.4, 0, 0)), pairs_of(frames), SIGMA).off[1]
    two = correct_poses(said(frames, turn=(0.8, 0, 0)), pairs_of(frames), SIGMA).off[1]
    assert one == pytest.approx(0.2 / 0.3, rel=0.35)  # half of it is this one's
    assert two == pytest.approx(2 * one, rel=0.1)
    tight = correct_poses(said(frames, turn=(0.8, 0, 0)), pairs_of(frames), [(np.radians(0.05), 0.001)] * 2)
    assert min(tight.off) > 5


def test_wrong_correspondences_hardly_count(frames):
    given, offsets = said(frames, turn=(0.4, 0, 0)), pairs_of(frames)
    rng = np.random.default_rng(3)
    spoilt = []
    for pair in offsets:
        a = pair.a.copy()
        a[::5] += rng.normal((0, 2), 0.3, (len(a[::5]), 2))  # all to one side
        spoilt.append(replace(pair, a=a))
    found = correct_poses(given, spoilt, SIGMA)
    better = [replace(view, pose=at) for view, at in zip(frames, found.poses, strict=True)]
    assert max(beside_lines(given, pair) for pair in offsets) > 0.6
    assert max(beside_lines(better, pair) for pair in offsets) < 0.08  # of those that are right


def test_a_view_that_nothing_is_told_of_stays(frames):
    third = frame([SLANTED], SMALL, pose(0, 0.3, 0))
    found = correct_poses([*said(frames, turn=(0.4, 0, 0)), third], pairs_of(frames), [*SIGMA, SIGMA[0]])
    np.testing.assert_array_equal(found.poses[2], third.pose)
    assert found.off[2] == 0
    assert turn_off(found.poses[:2]) < 0.06
    nothing = correct_poses(frames, [], SIGMA)
    assert (nothing.before, nothing.left, list(nothing.off)) == (0.0, {}, [0, 0])


def test_the_jacobian_is_that_of_finite_differences(frames):
    offsets = pairs_of(frames, count=60)[0]
    first, second = _Lines.of(frames, [offsets], TRUE).derivatives()
    assert np.abs(_Lines.of(frames, [offsets], TRUE).distance()).max() < 1e-2
    size = 1e-5
    for camera, analytic in ((0, first), (1, second)):
        for k in range(6):
            ends = []
            for sign in (1, -1):
                poses = [at.copy() for at in TRUE]
                poses[camera] = poses[camera] @ _small(sign * size * np.eye(6)[k])
                ends.append(_Lines.of(frames, [offsets], poses).distance())
            numeric = (ends[0] - ends[1]) / (2 * size)
            np.testing.assert_allclose(analytic[:, k], numeric, atol=0.02 * np.abs(second).max(), rtol=0.02)
            assert np.corrcoef(analytic[:, k], numeric)[0, 1] > 0.999


def test_the_distance_is_in_pixels_across_the_line(frames):
    """Along the line nothing is seen of a move, across it all."""
    offsets = pairs_of(frames, count=100)[0]
    # The epipole is where the other camera stands: lines run towards it.
    other = invert(TRUE[0]) @ TRUE[1]
    epipole = SMALL.K @ other[:3, 3]
    direction = epipole[:2] / epipole[2] - offsets.a
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    along = replace(offsets, a=offsets.a + 1.5 * direction)
    across = replace(offsets, a=offsets.a + 0.7 * direction[:, ::-1] * (1, -1))
    assert beside_lines(frames, along) < 1e-2
    np.testing.assert_allclose(np.abs(_Lines.of(frames, [across], TRUE).distance()), 0.7, atol=0.01)


def test_images_tell_where_pixels_lie_whatever_the_poses_say(frames):
    """Poses that are off by 0.4 degrees: places are those of the true poses all the same."""
    given = said(frames, turn=(0.4, 0, 0.3))
    accepted = np.ones_like(given[0].grey, bool)
    found = offsets_between(given, 0, 1, given[0].log_depth, accepted, 7)
    assert (found.i, found.j) == (0, 1)
    assert 30 <= len(found.a) <= 240
    assert found.a.shape == found.b.shape == (len(found.a), 2)
    moved = beside_lines(given, found)
    assert moved == pytest.approx(0.7, abs=0.35)
    assert beside_lines(frames, found) < 0.3 * moved
    assert turn_off(correct_poses(given, [found], SIGMA).poses) < 0.25  # of 0.5


@pytest.mark.parametrize("shift", [(0.3, -0.4), (0.3, 0.4)])
def test_each_pixel_is_found_where_it_is(shift):
    """The second image is that of a camera whose principal point lies elsewhere: all of it is moved alike."""
    wall = [replace(SLANTED, density=25.0)]
    given = [frame(wall, SMALL, at) for at in (pose(0, 0, 0), pose(0.05, 0, 0))]
    aside = replace(SMALL, cx=SMALL.cx + shift[0], cy=SMALL.cy + shift[1])
    given[1] = replace(given[1], grey=frame(wall, aside, given[1].pose).grey)
    found = offsets_between(given, 0, 1, given[0].log_depth, np.ones_like(given[0].grey, bool), 7)
    u, v, _ = Projection.between(*given)(np.exp(given[0].log_depth))
    # In b they lie where depth puts them, in a where the images say.
    h, w = given[0].grey.shape
    rows, columns = np.rint(found.a + shift).astype(int).T[::-1].clip(0, [[h - 1], [w - 1]])
    same = np.abs(found.b - np.stack([u[rows, columns], v[rows, columns]], 1)).max(axis=1) < 1e-3
    assert same.mean() > 0.97
    off = np.hypot(*(found.a + shift - np.stack([columns, rows], 1)).T)
    assert np.median(off) < 0.11
    assert np.percentile(off, 90) < 0.3


def test_exposure_does_not_move_pixels(frames):
    dim = replace(frames[1], grey=frames[1].grey * np.float32(0.6) + 20)
    accepted = np.ones_like(frames[0].grey, bool)
    assert beside_lines(frames, offsets_between([frames[0], dim], 0, 1, frames[0].log_depth, accepted, 7)) < 0.05


def test_only_accepted_corners_are_asked(frames):
    few = np.zeros_like(frames[0].grey, bool)
    few[40:45, 60:65] = True
    assert offsets_between(frames, 0, 1, frames[0].log_depth, few, 7) is None
    part = np.zeros_like(few)
    part[20:60, 70:110] = True
    found = offsets_between(frames, 0, 1, frames[0].log_depth, part, 7)
    columns, rows = np.rint(found.a).astype(int).T
    assert columns.min() >= 68
    assert rows.max() <= 61
    # Stripes tell one direction only, faint stains and a plain wall none.
    stripes = np.repeat(wallpaper(0)[300:301], 600, axis=0)
    for paper in (stripes + 0.05 * wallpaper(1), 90 + 0.02 * wallpaper(0), np.full((600, 900), 90, np.float32)):
        views = [frame([replace(SLANTED, paper=paper)], SMALL, at) for at in TRUE]
        assert offsets_between(views, 0, 1, frames[0].log_depth, np.ones_like(few), 7) is None
