# SPDX-License-Identifier: Apache-2.0
"""The parts of matching side by side, beside loops over pixels."""

import cv2
import numpy as np
import pytest
from papered import SLANTED, SMALL, frame, large, pose

from da3_ros.estimation.refinement import stereo
from da3_ros.estimation.refinement.frame import Frame
from da3_ros.estimation.refinement.stereo import match, rectification
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation, invert

SIZE, FOCAL, CENTRE = (90, 70), 80.0, (44.0, 33.0)
LOG_2 = float(np.log(2.0))


def turn(*degrees):
    return cv2.Rodrigues(np.radians(np.array(degrees, float)))[0]


def disparities(seed=0):
    """(70, 90), with holes."""
    rng = np.random.default_rng(seed)
    out = rng.uniform(3, 25, (70, 90)).astype(np.float32)
    out[rng.random((70, 90)) < 0.2] = 0
    return out


def test_the_right_image_sees_the_nearest_of_the_left():
    """A line that stays free takes the nearer of its neighbours; wider ones stay free."""
    given = disparities(1)
    given[given > np.arange(90)] = 0  # partners beyond the image are taken out before
    expected = np.zeros_like(given)
    for row, column in zip(*np.nonzero(given), strict=True):
        there = int(np.rint(column - given[row, column]))
        expected[row, there] = max(expected[row, there], given[row, column])
    found = stereo._seen_from_b(given)
    for row in range(70):
        for column in range(90):
            around = expected[row, max(column - 1, 0) : column + 2].max()
            assert found[row, column] == (expected[row, column] or around)


def test_depth_at_the_pixels_of_a_frame():
    given = disparities(2)
    camera = CameraModel.pinhole(60, 50, 50.0, 55.0, 31.0, 22.0)
    view = Frame(np.zeros((50, 60), np.float32), camera, np.eye(4), np.zeros((50, 60), np.float32))
    turned = turn(2, -3, 4)
    found = stereo._at_pixels(view, turned, given, 20.0, FOCAL, CENTRE)
    count = 0
    for row, column in np.ndindex(50, 60):
        ray = turned @ [(column - 31.0) / 50.0, (row - 22.0) / 55.0, 1.0]
        u, v = (round(FOCAL * ray[k] / ray[2] + CENTRE[k]) for k in (0, 1))
        d = given[v, u] if 0 <= u < 90 and 0 <= v < 70 else 0
        assert found.accepted[row, column] == (d > 0)
        assert found.pixels_per_log[row, column] == d
        if d > 0:
            # Along the common axis it is 20 / d; along the frame's own, that of the point on the ray.
            assert found.log_depth[row, column] == pytest.approx(np.log(20.0 / d / ray[2]), abs=1e-4)
            count += 1
    assert count > 500


def test_what_lies_behind_a_turned_image_has_no_depth():
    view = Frame(
        np.zeros((5, 6), np.float32),
        CameraModel.pinhole(6, 5, 5.0, 5.0, 2.5, 2.0),
        np.eye(4),
        np.zeros((5, 6), np.float32),
    )
    found = stereo._at_pixels(view, turn(0, 180, 0), np.full((70, 90), 5.0, np.float32), 20.0, FOCAL, CENTRE)
    assert not found.accepted.any()
    assert np.isfinite(found.log_depth).all()


def test_both_must_see_a_pixel():
    """The one from its image, the partner from the other's; a partner beyond the image is none."""
    rng = np.random.default_rng(3)
    images = [np.zeros((40, 50), np.uint8)] * 2
    views = [
        Frame(
            np.zeros((40, 50), np.float32),
            CameraModel.pinhole(50, 40, 60.0, 60.0, 24.0, 20.0),
            np.eye(4),
            np.zeros((40, 50), np.float32),
        )
    ] * 2
    maps = [
        stereo._maps(view, image, turn(*by), SIZE, FOCAL, CENTRE)
        for view, image, by in zip(views, images, ((0, 4, 0), (0, -3, 2)), strict=True)
    ]
    given = rng.uniform(0, 30, (70, 90)).astype(np.float32)
    found = stereo._both_see(given, *maps, *images)
    seen = [
        cv2.remap(np.full((40, 50), 255, np.uint8), *each, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0
        for each in maps
    ]
    for row, column in np.ndindex(70, 90):
        there = int(np.rint(np.float32(column) - given[row, column]))
        expected = seen[0][row, column] and 0 <= there < 90 and seen[1][row, there]
        assert found[row, column] == expected
    assert 0.1 < found.mean() < 0.9


def test_maps_lead_to_where_rays_meet_the_image():
    """Of an image at another size than the frame's."""
    camera = CameraModel.pinhole(50, 40, 60.0, 62.0, 24.0, 20.0)
    view = Frame(np.zeros((40, 50), np.float32), camera, np.eye(4), np.zeros((40, 50), np.float32))
    turned = turn(1, -2, 3)
    whole, _ = stereo._maps(view, np.zeros((80, 100), np.uint8), turned, SIZE, FOCAL, CENTRE)
    wide = camera.scaled(100, 80)
    for u, v in ((10, 20), (44, 33), (80, 60)):
        ray = turned.T @ [(u - CENTRE[0]) / FOCAL, (v - CENTRE[1]) / FOCAL, 1.0]
        at = np.array([wide.fx * ray[0] / ray[2] + wide.cx, wide.fy * ray[1] / ray[2] + wide.cy])
        np.testing.assert_allclose(whole[v, u], at, atol=1.0)


def test_the_common_image_is_that_of_the_first():
    view = Frame(
        np.zeros((40, 50), np.float32),
        CameraModel.pinhole(50, 40, 60.0, 64.0, 24.0, 20.0),
        np.eye(4),
        np.zeros((40, 50), np.float32),
    )
    size, focal, centre = stereo._common(view, np.zeros((80, 100), np.uint8))
    assert (size, focal) == ((100, 80), 124.0)
    assert centre == pytest.approx((48.5, 40.5))


def test_the_range_of_depth_is_that_of_both_views_and_beyond():
    rng = np.random.default_rng(4)
    views = [frame([SLANTED], SMALL, pose(0, 0, 0), rng.normal(0, 0.2, (98, 126)) + by) for by in (0.0, 0.5)]
    both = np.concatenate([view.log_depth[::4, ::4].ravel() for view in views])
    far, near = stereo._range(*views, 0.3)
    assert far == pytest.approx(np.percentile(both, 99) + 0.3)
    assert near == pytest.approx(np.percentile(both, 1) - 0.3)


@pytest.mark.parametrize("towards", [(1, 0, 0), (0.9, 0.3, 0.1), (0.95, -0.1, 0.2)])
def test_a_pair_is_turned_to_look_along_one_axis_across_its_baseline(monkeypatch, towards):
    monkeypatch.setattr(stereo, "LARGEST_TURN", np.pi)
    a = pose(1, 2, 3, turn=(10, 20, 30))
    T_a_b = from_rotation_translation(turn(2, -3, 1), 0.3 * np.array(towards) / np.linalg.norm(towards))
    found = rectification(a, a @ T_a_b)
    assert found.baseline == pytest.approx(0.3)
    for each in (found.turn_a, found.turn_b):
        np.testing.assert_allclose(each @ each.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(each) == pytest.approx(1)
    np.testing.assert_allclose(found.turn_a @ T_a_b[:3, 3], [0.3, 0, 0], atol=1e-9)
    np.testing.assert_allclose(found.turn_b, found.turn_a @ T_a_b[:3, :3], atol=1e-9)
    mean = found.turn_a @ (np.array([0, 0, 1.0]) + T_a_b[:3, 2])  # of both optical axes
    assert mean[1] == pytest.approx(0, abs=1e-9)
    assert mean[2] > 0


@pytest.mark.parametrize(("degrees", "is_one"), [(5.9, True), (6.1, False)])
def test_neither_may_be_turned_by_more_than_six_degrees(degrees, is_one):
    """Here both are, by half of what they are turned against each other."""
    b = from_rotation_translation(
        turn(0, 0, 0), np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0.0])
    )
    assert (rectification(np.eye(4), b) is not None) is is_one
    assert rectification(np.eye(4), np.eye(4)) is None
    assert rectification(np.eye(4), pose(-0.2, 0, 0)) is None
    assert rectification(np.eye(4), pose(0, 0, 0.2)) is None


class Matcher:
    """What cv2's matcher is made with, and given."""

    def __init__(self, monkeypatch, disparity=None):
        self.made, self.given, self.disparity = {}, None, disparity
        monkeypatch.setattr(cv2.StereoSGBM, "create", self.create)

    def create(self, **options):
        self.made = options
        return self

    def compute(self, left, right):
        self.given = left, right
        value = self.made["minDisparity"] + 8 if self.disparity is None else self.disparity
        return np.full(left.shape, 16 * value, np.int16)


def asked(monkeypatch, reach=0.3, disparity=None, log_depth=LOG_2):
    places = (pose(0, 0, 0), pose(0.25, 0, 0))
    views = [frame([SLANTED], SMALL, at) for at in places]
    views = [Frame(v.grey, v.camera, v.pose, np.full((98, 126), log_depth, np.float32)) for v in views]
    images = [large([SLANTED], SMALL, at) for at in places]
    matcher = Matcher(monkeypatch, disparity)
    return matcher, match(*views, *images, rectification(*places), reach), images


@pytest.mark.parametrize("reach", [0.1, 0.3, 0.8])
def test_disparities_are_searched_from_the_farthest_to_the_nearest_depth(monkeypatch, reach):
    """In whole pixels, and as many as cv2 takes; both images get a border on the left as wide as that."""
    matcher, _, images = asked(monkeypatch, reach)
    strength = 3 * 100 * 0.25  # focal length of the large images times the baseline
    low, high = strength / 2 * np.exp(-reach), strength / 2 * np.exp(reach)
    first, count = matcher.made["minDisparity"], matcher.made["numDisparities"]
    assert first == int(low)
    assert count % 16 == 0
    assert first + count - 16 < high <= first + count
    assert matcher.given[0].shape == matcher.given[1].shape == (294, 378 + first + count)
    np.testing.assert_array_equal(matcher.given[0][:, first + count :], images[0])


def test_the_matcher_is_opencv_s_with_its_own_advice(monkeypatch):
    """P1 and P2 as its manual has them for one channel, blocks of 3; left and right must agree within a pixel."""
    matcher, _, _ = asked(monkeypatch)
    options = matcher.made
    assert options["blockSize"] == 3
    assert (options["P1"], options["P2"]) == (8 * 3**2, 32 * 3**2)
    assert (options["disp12MaxDiff"], options["uniquenessRatio"]) == (1, 10)
    assert (options["speckleWindowSize"], options["speckleRange"]) == (100, 2)
    assert options["mode"] == cv2.STEREO_SGBM_MODE_SGBM_3WAY


def test_disparities_are_sixteenths_and_depth_is_strength_over_them(monkeypatch):
    _, both, _ = asked(monkeypatch, disparity=37.5)
    for found, inner in zip(both, (np.s_[:, 20:], np.s_[:, :-20]), strict=True):
        assert found.accepted[inner].all()
        np.testing.assert_allclose(np.exp(found.log_depth[inner]), 75 / 37.5, rtol=1e-4)
        assert (found.pixels_per_log[inner] == 37.5).all()
    assert not both[0].accepted[:, :11].any()  # its partners lie beyond the other image
    assert not both[1].accepted[:, -11:].any()


@pytest.mark.parametrize(("far", "disparity", "accepted"), [
    (np.log(2.0), 27.0, False), (np.log(2.0), 28.5, True), (np.log(200.0), 0.5, False), (np.log(200.0), 1.0, True),
])  # fmt: skip
def test_what_is_farther_than_was_asked_for_or_than_a_pixel_tells_is_left_out(monkeypatch, far, disparity, accepted):
    _, both, _ = asked(monkeypatch, disparity=disparity, log_depth=far)
    assert both[0].accepted[:, 20:].any() == accepted


def test_a_search_is_sixteen_disparities_at_least_and_256_at_most(monkeypatch):
    matcher, _, _ = asked(monkeypatch, 0.01)
    assert matcher.made["numDisparities"] == 16
    matcher, _, _ = asked(monkeypatch, 2.0, log_depth=np.log(0.5))
    assert matcher.made["numDisparities"] == 256


def test_poses_do_not_have_to_be_those_of_the_world():
    a, b = pose(3, 1, 2, turn=(20, 50, 10)), pose(3, 1, 2, turn=(20, 50, 10)) @ pose(0.2, 0, 0)
    there = rectification(a, b)
    here = rectification(np.eye(4), invert(a) @ b)
    np.testing.assert_allclose(there.turn_a, here.turn_a, atol=1e-9)
