# SPDX-License-Identifier: Apache-2.0
"""Poses of pairs and of all views from matches whose geometry is known: what is sampled, counted, chosen, left out."""

import cv2
import numpy as np
import pytest

from da3_ros.estimation.pose import matches as module
from da3_ros.estimation.pose.features import FeatureConfig
from da3_ros.estimation.pose.matches import (
    Matcher,
    MatchesConfig,
    PairMatches,
    pair_pose,
    poses_from_matches,
    sample_by,
)
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation, invert, rotation_angle

WIDE = CameraModel.pinhole(640, 480, 500.0, 520.0, 315.0, 245.0)
SMALL = CameraModel.pinhole(320, 200, 260.0, 240.0, 150.0, 105.0)


def pose(turn, shift):
    return from_rotation_translation(cv2.Rodrigues(np.radians(np.array(turn, float)))[0], np.array(shift, float))


POSES = [
    np.eye(4),
    pose([2, -6, 3], [0.3, 0.1, -0.1]),
    pose([-3, 5, 6], [-0.2, 0.2, 0.1]),
    pose([0, 3, 0], [0.1, -0.3, 0]),
]
CAMERAS = [WIDE, SMALL, WIDE, SMALL]
POINTS = np.random.default_rng(4).uniform([-1.2, -0.8, 2.5], [1.2, 0.8, 6], (200, 3))


def seen(view, points=POINTS):
    """Pixels (N, 2) and depth (N,) of points of the world in a view."""
    x = (points - POSES[view][:3, 3]) @ POSES[view][:3, :3]
    c = CAMERAS[view]
    return x[:, :2] / x[:, 2:] * [c.fx, c.fy] + [c.cx, c.cy], x[:, 2]


def pair(i, j, count=60, wrong=0, start=0):
    """The first `wrong` of its matches are none."""
    points = POINTS[start : start + count]
    other = seen(j, points)[0]
    other[:wrong] = np.random.default_rng(i + j).uniform(0, 200, (wrong, 2))
    return PairMatches(i, j, seen(i, points)[0], other, CAMERAS[i], CAMERAS[j])


def depth(view, pixels, camera):
    """Of the point that lies at each pixel; of what is none, something."""
    assert camera == CAMERAS[view]
    at, z = seen(view)
    apart = np.linalg.norm(at[None] - pixels[:, None], axis=2)
    return np.where(apart.min(1) < 1e-6, z[apart.argmin(1)], 3.0)


def off(found, truth):
    return np.abs(found - truth).max()


def test_depth_is_looked_up_at_the_nearest_pixel_of_a_map_of_another_size():
    """By hand: the map has 5 columns and 3 rows, the image 40 x 30 pixels; each covers 8 x 10 of them."""
    maps = [np.zeros((2, 2), np.float32), np.arange(15, dtype=np.float32).reshape(3, 5)]
    camera = CameraModel.pinhole(40, 30, 50.0, 50.0, 20.0, 15.0)
    pixels = np.array(
        [[0, 0], [7.4, 9.4], [7.6, 9.4], [7.4, 9.6], [39.4, 29.4], [20, 15], [-3, -3], [45, 33], [-9, 15]]
    )
    found = sample_by(maps)(1, pixels, camera)
    assert found.tolist() == [0, 0, 1, 5, 14, 7, 0, 14, 5]
    assert found.dtype == np.float64


@pytest.mark.parametrize(("i", "j"), [(0, 1), (1, 0), (2, 3)])
def test_the_pose_of_a_pair(i, j):
    found = pair_pose(pair(i, j), depth, None, MatchesConfig())
    assert off(found.T_i_j, invert(POSES[i]) @ POSES[j]) < 1e-4
    assert found.explained == 60
    there, back = found.links
    assert (there.i, there.j, back.i, back.j) == (i, j, j, i)
    assert (there.camera_i, there.camera_j, back.camera_i, back.camera_j) == (
        CAMERAS[i],
        CAMERAS[j],
        CAMERAS[j],
        CAMERAS[i],
    )
    np.testing.assert_array_equal(there.pixels_i, back.pixels_j)
    np.testing.assert_array_equal(there.depth_i, seen(i)[1][:60])
    np.testing.assert_array_equal(back.depth_i, seen(j)[1][:60])


def test_of_a_pair_only_matches_that_agree_count():
    found = pair_pose(pair(0, 2, 80, wrong=20), depth, None, MatchesConfig())
    assert off(found.T_i_j, POSES[2]) < 0.02
    assert 58 <= found.explained <= 63


@pytest.mark.parametrize("least", [60, 61])
def test_a_pose_needs_as_many_matches_as_it_is_told(least):
    config = MatchesConfig(min_matches=least)
    assert (pair_pose(pair(0, 1, 60), depth, None, config) is None) is (least > 60)
    assert pair_pose(pair(0, 1, 75, wrong=20), depth, None, config) is None  # those that agree


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
@pytest.mark.parametrize("view", [0, 1])
def test_matches_without_depth_in_either_view_do_not_count(bad, view):
    def with_holes(of, pixels, camera):
        z = depth(of, pixels, camera)
        return np.where((np.arange(len(z)) < 30) & (of == view), bad, z)

    config = MatchesConfig(min_matches=30)
    found = pair_pose(pair(0, 1, 60), with_holes, None, config)
    assert found.explained == 30
    assert off(found.T_i_j, POSES[1]) < 1e-3
    assert pair_pose(pair(0, 1, 59), with_holes, None, config) is None


def test_twenty_matches_are_enough_and_eight_the_least_that_may_be_asked_for():
    """`pose.min_matches` of the node says so."""
    assert MatchesConfig().min_matches == 20
    assert MatchesConfig(min_matches=8).min_matches == 8
    with pytest.raises(ValueError, match=r"^min_matches must be at least 8, got 7$"):
        MatchesConfig(min_matches=7)


def guesses(there=None, link=None):
    link = link or pair_pose(pair(0, 1), depth, None, MatchesConfig()).links
    return list(module._first_guesses(*link, there))


def test_starts_are_no_motion_the_network_s_points_both_ways_and_the_epipolar_geometry():
    truth, told = invert(POSES[1]), pose([0, 1, 0], [1, 2, 3])
    none, network, *found = guesses(told)
    np.testing.assert_array_equal(none, np.eye(4))
    np.testing.assert_array_equal(network, told)
    assert len(found) == 3
    for start in found:
        assert off(start, truth) < 1e-3
    assert len(guesses()) == 4


@pytest.mark.parametrize("unit", [0.1, 4.0])
def test_the_epipolar_geometry_gets_its_length_from_the_depth(unit):
    there, _ = pair_pose(pair(0, 1), depth, None, MatchesConfig()).links
    scaled = module.Links(0, 1, there.camera_i, there.camera_j, there.pixels_i, there.pixels_j, unit * there.depth_i)
    (found,) = module._from_epipolar_geometry(scaled)
    truth = invert(POSES[1])
    truth[:3, 3] *= unit
    assert off(found, truth) < 2e-3 * unit
    assert np.linalg.norm(found[:3, 3]) == pytest.approx(unit * np.linalg.norm(POSES[1][:3, 3]), rel=1e-3)


def test_where_matches_have_no_epipolar_geometry_there_is_no_start():
    at, z = np.full((10, 2), 100.0), np.full(10, 3.0)
    assert list(module._from_epipolar_geometry(module.Links(0, 1, WIDE, WIDE, at, at, z))) == []


def test_a_network_s_guess_of_a_pair_is_its_relative_pose(monkeypatch):
    told = []
    starts = module._first_guesses
    monkeypatch.setattr(module, "_first_guesses", lambda *given: told.append(given[2]) or starts(*given))
    guess = np.stack([pose([0, 9, 0], [1, 0, 0]) @ T for T in POSES])
    poses_from_matches([pair(0, 1), pair(2, 3)], depth, [None, None, POSES[2], None], guess)
    poses_from_matches([pair(0, 1)], depth, [None] * 2, guess[:2])
    poses_from_matches([pair(0, 1)], depth, [None] * 4)
    assert off(told[0], invert(POSES[3]) @ POSES[2]) < 1e-9
    assert off(told[1], invert(POSES[1])) < 1e-9
    assert told[2] is None


def test_a_pair_s_covariance_and_a_view_s_are_twice_the_adjustment_s():
    """Every match stands in two links: its noise is counted twice."""
    found = pair_pose(pair(0, 1), depth, None, MatchesConfig())
    fixed = np.array([True, False])
    links = [module.replace(link, i=at, j=1 - at) for at, link in enumerate(found.links)]
    own = module.adjust(np.stack([np.eye(4), POSES[1]]), links, fixed, MatchesConfig().noise)
    np.testing.assert_allclose(found.covariance, 2 * own.covariance[1], rtol=1e-3, atol=1e-9)
    (_, view) = poses_from_matches([pair(0, 1)], depth, [None] * 2)
    np.testing.assert_allclose(view.covariance, 2 * own.covariance[1], rtol=1e-2, atol=1e-8)


def test_a_view_hangs_on_the_pair_with_the_most_matches():
    """The first pair's weak way to view 2 is wrong by a turn of its pose; the strongest of all agrees on nothing."""
    astray = pose([0, 0, 20], [0.5, 0, 0])
    told = {(0, 2): astray, (0, 1): POSES[1], (1, 2): invert(POSES[1]) @ POSES[2], (0, 3): None}
    pairs = [pair(0, 2, 30), pair(0, 1, 90), pair(1, 2, 50), pair(0, 3, 99)]

    def solve(pair):
        T_i_j = told[pair.i, pair.j]
        return None if T_i_j is None else module.PairPose(T_i_j, np.eye(6), (), 30)

    poses = [np.eye(4), None, None, None]
    solved = module._place(poses, pairs, [None] * 4, solve)
    assert off(poses[1], POSES[1]) < 1e-12
    assert off(poses[2], POSES[2]) < 1e-12
    assert poses[3] is None
    assert list(solved) == [(0, 3), (0, 1), (1, 2)]  # what the others placed already is not solved
    assert solved[0, 3] is None


def test_matches_between_views_that_others_placed_count_where_they_fit():
    config = MatchesConfig()
    good, few = pair(1, 2, 60), pair(1, 2, 10)
    assert len(module._agreeing(good, POSES, depth, config)) == 2
    assert module._agreeing(few, POSES, depth, config) == []
    moved = [*POSES[:2], POSES[2] @ pose([0, 15, 0], [0.3, 0, 0]), POSES[3]]
    assert module._agreeing(good, moved, depth, config) == []


def test_a_pair_leads_both_ways_and_a_placed_view_places_its_body():
    bodies = [None, (7, POSES[1]), (7, POSES[2]), None]

    def solve(pair):
        return module.PairPose(invert(POSES[pair.i]) @ POSES[pair.j], np.eye(6), (), 20)

    poses = [None, None, None, POSES[3]]
    module._place(poses, [pair(0, 2, 20), pair(1, 3, 20)], bodies, solve)
    for found, truth in zip(poses, POSES, strict=True):
        assert off(found, truth) < 1e-9


def test_what_a_view_rests_on_counts_its_body_s_matches_with_others_once():
    """Views 1 and 2 are on one body: matches between them say nothing of where it is."""
    mounts = [None, (3, POSES[1]), (3, POSES[2]), None]
    pairs = [pair(0, 1, 40), pair(0, 2, 30, start=60), pair(1, 2, 50), pair(3, 1, 25, start=100)]
    found = poses_from_matches(pairs, depth, [POSES[0], None, None, None], mounts=mounts)
    assert [view.inliers for view in found] == [0, 95, 95, 25]
    for view, truth in zip(found, POSES, strict=True):
        assert off(view.T_world_camera, truth) < 1e-3
    assert not found[0].covariance.any()
    assert found[1].covariance.any()
    assert [view.covariance.shape for view in found] == [(6, 6)] * 4


@pytest.mark.parametrize("body", [0, 1, 3, 4, 5])
def test_a_view_without_a_mount_is_a_body_of_its_own_whatever_number_others_have(body):
    """Here of three views: the second has none, the third has."""
    pairs = [pair(0, 1, 40), pair(0, 2, 30, start=60)]
    found = poses_from_matches(pairs, depth, [POSES[0], None, None], mounts=[None, None, (body, POSES[2])])
    assert [view.inliers for view in found] == [0, 40, 30]


def test_views_with_too_few_matches_in_the_end_have_no_pose():
    config = MatchesConfig(min_matches=30)
    found = poses_from_matches([pair(0, 1, 30), pair(0, 2, 29)], depth, [None] * 3, config=config)
    assert [view is None for view in found] == [False, False, True]
    found = poses_from_matches([pair(1, 2, 40)], depth, [POSES[0], None, None])
    assert [view is None for view in found] == [False, True, True]  # nothing joins these to the world


def test_the_first_view_is_the_world_only_where_no_pose_is_known():
    world = pose([0, 40, 0], [7, 8, 9])
    found = poses_from_matches([pair(0, 1)], depth, [None, world @ POSES[1]])
    assert off(found[0].T_world_camera, world) < 1e-4
    np.testing.assert_array_equal(found[1].T_world_camera, world @ POSES[1])
    found = poses_from_matches([pair(0, 1)], depth, [None, None])
    np.testing.assert_array_equal(found[0].T_world_camera, np.eye(4))


def test_a_known_view_carries_the_others_of_its_body():
    body = pose([0, 30, 0], [1, 2, 3])
    mounts = [(0, invert(body) @ T) for T in POSES[:2]] + [None]
    found = poses_from_matches([], depth, [None, POSES[1], None], mounts=mounts)
    assert off(found[0].T_world_camera, POSES[0]) < 1e-12
    assert (found[0].inliers, found[2]) == (0, None)


class Counting:
    """Counts what is detected and matched."""

    def __init__(self, monkeypatch):
        self.detected, self.matched = [], []
        detect, match = module.detect, module.match

        def detecting(image, camera, config):
            self.detected.append(config)
            return detect(image, camera, config)

        def matching(a, b, ratio):
            self.matched.append(ratio)
            return match(a, b, ratio)

        monkeypatch.setattr(module, "detect", detecting)
        monkeypatch.setattr(module, "match", matching)


@pytest.fixture
def counting(monkeypatch):
    return Counting(monkeypatch)


def images(count):
    noise = np.random.default_rng(0).uniform(0, 255, (90, 160, 3)).astype(np.float32)
    paper = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return [np.ascontiguousarray(paper[:, 3 * i : 3 * i + 120]) for i in range(count)]


CAMERA = CameraModel.pinhole(120, 90, 100.0, 100.0, 60.0, 45.0)


def test_features_and_matches_of_what_comes_again_are_not_sought_again(counting):
    config = MatchesConfig(features=FeatureConfig(features=80, ratio=0.75))
    matcher, three = Matcher(config), images(3)
    first = matcher(three[:2], [CAMERA] * 2, ["a", "b"])
    assert (counting.detected, counting.matched) == ([config.features] * 2, [0.75])
    again = matcher(three[1:], [CAMERA] * 2, ["b", "c"])
    assert (len(counting.detected), len(counting.matched)) == (3, 2)
    assert [(p.i, p.j) for p in first + again] == [(0, 1)] * 2
    matcher(three[1:], [CAMERA] * 2, ["b", "c"])
    assert (len(counting.detected), len(counting.matched)) == (3, 2)
    matcher(three[1:], [CAMERA] * 2)  # without keys nothing is known again
    assert (len(counting.detected), len(counting.matched)) == (5, 3)


def test_pairs_of_one_group_are_not_matched(counting):
    found = Matcher(MatchesConfig(features=FeatureConfig(features=80)))(
        images(4), [CAMERA] * 4, groups=[[0, 0, 1, 2], [5, 6, 7, 7]]
    )
    assert [(p.i, p.j) for p in found] == [(0, 2), (0, 3), (1, 2), (1, 3)]
    assert len(counting.matched) == 4


def test_matches_are_pixels_of_the_same_spot_in_the_cameras_of_the_size_that_was_searched():
    config = MatchesConfig(features=FeatureConfig(longest=60))
    (found,) = Matcher(config)(images(2), [CAMERA] * 2)
    assert found.camera_i == found.camera_j == CAMERA.scaled(60, 45)
    shift = np.median(found.pixels_i - found.pixels_j, axis=0)
    np.testing.assert_allclose(shift, [1.5, 0.0], atol=0.1)  # 3 pixels of the image


def test_a_pair_with_fewer_matches_than_are_needed_is_left_out():
    views = images(2)
    (found,) = Matcher()(views, [CAMERA] * 2)
    count = len(found.pixels_i)
    assert len(Matcher(MatchesConfig(min_matches=count))(views, [CAMERA] * 2)) == 1
    assert Matcher(MatchesConfig(min_matches=count + 1))(views, [CAMERA] * 2) == []


def test_a_turn_without_motion_is_found():
    turned = pose([0, 4, 0], [0, 0, 0])
    x = POINTS @ turned[:3, :3]
    other = x[:, :2] / x[:, 2:] * [SMALL.fx, SMALL.fy] + [SMALL.cx, SMALL.cy]
    found = pair_pose(
        PairMatches(0, 1, seen(0)[0], other, WIDE, SMALL),
        lambda view, pixels, camera: (POINTS if view == 0 else x)[:, 2],
        None,
        MatchesConfig(),
    )
    assert np.degrees(rotation_angle(found.T_i_j[:3, :3])) == pytest.approx(4.0, abs=1e-2)
    assert np.abs(found.T_i_j[:3, 3]).max() < 1e-3
