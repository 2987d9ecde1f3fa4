# SPDX-License-Identifier: Apache-2.0
"""Views of a chunk refine each other: at poses in its own unit, or by the rig of each moment."""

from dataclasses import replace

import numpy as np
import pytest
from papered import SLANTED, SMALL, bent, large, pose, render

from da3_ros.bag.motion import refined as module
from da3_ros.bag.motion.refined import LEAST_MOVE, has_rig, refine_chunk, refine_moments
from da3_ros.estimation import PoseEstimate, RefinementConfig, View, ViewEstimate
from da3_ros.estimation.refinement.subjects import CALIBRATED
from da3_ros.geometry.poses import invert

WIDE = SMALL.scaled(3 * SMALL.width, 3 * SMALL.height)
CONFIG = RefinementConfig()
BEND = bent(by=0.2)
ROW = (pose(0, 0, 0), pose(0.25, 0.02, 0))
COVARIANCE = np.diag([1e-6] * 3 + [1e-6] * 3)


def rgb(grey):
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)


def chunk(places=ROW, unit=1.0, sheets=(SLANTED,)):
    """Views, what the network says of them (bent, in `unit` metres), and their true depth in that unit."""
    views, estimates, depths = [], [], []
    for number, at in enumerate(places):
        grey, depth = render(sheets, SMALL, at)
        depth = depth / np.float32(unit)
        views.append(View(rgb(large(sheets, SMALL, at)), WIDE, None, "cam", number, body=number))
        said, unknown = depth * np.exp(BEND), PoseEstimate(np.eye(4), "none", np.zeros((6, 6)))
        one = np.ones_like(depth)
        estimates.append(ViewEstimate("cam", number, rgb(grey), said, one, SMALL, unknown))
        depths.append(depth)
    return views, estimates, depths


def matched(places, unit=1.0, covariance=COVARIANCE):
    out = []
    for at in places:
        own = at.copy()
        own[:3, 3] /= unit
        out.append(PoseEstimate(own, "matches", covariance))
    return out


def error(found, depth):
    return float(np.median(np.abs(found / depth - 1)))


@pytest.mark.parametrize("unit", [1.0, 4.0, 0.2])
def test_a_moving_camera_refines_itself_in_any_unit(unit):
    views, estimates, depths = chunk(unit=unit)
    found = refine_chunk(views, estimates, matched(ROW, unit), CONFIG, metric=False)
    for better, estimate, depth in zip(found, estimates, depths, strict=True):
        assert error(estimate.depth, depth) > 0.06
        assert error(better.depth, depth) < 0.012
        assert better.report.applied
        assert better.report.pixels.keys() == {"views"}
        assert better.confidence.mean() > 1.5 > estimate.confidence.mean()
        assert better.depth.shape == depth.shape


def test_a_view_whose_pose_is_not_known_stays_as_it_is():
    places = (*ROW, pose(0.1, -0.2, 0))
    views, estimates, depths = chunk(places)
    poses = [*matched(ROW), None]
    found = refine_chunk(views, estimates, poses, CONFIG, metric=False)
    np.testing.assert_array_equal(found[2].depth, estimates[2].depth)
    np.testing.assert_array_equal(found[2].confidence, estimates[2].confidence)
    assert max(error(found[i].depth, depths[i]) for i in (0, 1)) < 0.012


def test_so_does_a_view_without_a_calibration():
    """What the network takes for its focal length is no measure."""
    views, estimates, depths = chunk((*ROW, pose(0.1, -0.2, 0)))
    views[2] = replace(views[2], camera=None)
    found = refine_chunk(views, estimates, matched((*ROW, pose(0.1, -0.2, 0))), CONFIG, metric=False)
    np.testing.assert_array_equal(found[2].depth, estimates[2].depth)
    assert error(found[0].depth, depths[0]) < 0.012


def test_matches_are_no_surer_than_a_share_of_the_depth(monkeypatch):
    """However small their covariance: what all pieces share grows with it against the baseline."""
    views, estimates, _ = chunk()
    asked = []
    monkeypatch.setattr(
        module, "refine", lambda subjects, config, sweeper: asked.extend(subjects) or [1] * len(subjects)
    )
    for unit in (1.0, 0.2):
        own, said, _ = chunk(unit=unit)
        refine_chunk(own, said, matched(ROW, unit, 0 * COVARIANCE), CONFIG, metric=False)
        for subject in asked[-2:]:
            angle, distance = subject.sigma
            assert angle == CALIBRATED[0]
            assert distance == pytest.approx(LEAST_MOVE * 2 / unit, rel=0.1)
    monkeypatch.undo()
    sure = refine_chunk(views, estimates, matched(ROW, covariance=0 * COVARIANCE), CONFIG, metric=False)[0]
    unsure = refine_chunk(views, estimates, matched(ROW, covariance=400 * COVARIANCE), CONFIG, metric=False)[0]
    assert np.median(unsure.stddev) > 1.5 * np.median(sure.stddev)
    # Nearer to each other than that nothing is told.
    near = (pose(0, 0, 0), pose(2 * LEAST_MOVE, 0, 0))
    views, estimates, _ = chunk(near)
    for better, estimate in zip(
        refine_chunk(views, estimates, matched(near), CONFIG, metric=False), estimates, strict=True
    ):
        np.testing.assert_array_equal(better.depth, estimate.depth)


def test_images_of_two_moments_are_not_those_of_one_body(monkeypatch):
    """Between them things may have moved: only those of one body are matched as such. Points lie in the whole image."""
    asked = []
    monkeypatch.setattr(
        module, "refine", lambda subjects, config, sweeper: asked.extend(subjects) or [1] * len(subjects)
    )
    views, estimates, _ = chunk()
    views[0] = replace(views[0], measured=np.zeros((1, 3), np.float32))
    refine_chunk(views, estimates, matched(ROW), CONFIG, metric=True)
    assert [subject.body for subject in asked] == [0, 1]
    assert asked[0].measured[1].width == WIDE.width
    assert asked[0].camera.width == SMALL.width
    assert asked[0].large.shape == views[0].image.shape


def test_points_count_where_the_unit_is_the_metre():
    views, estimates, depths = chunk()
    rows, columns = (part.ravel() for part in np.indices(depths[0].shape)[:, ::5, ::5])
    z = depths[0][rows, columns]
    cloud = np.stack([(columns - SMALL.cx) / SMALL.fx * z, (rows - SMALL.cy) / SMALL.fy * z, z], 1).astype(np.float32)
    views[0] = replace(views[0], measured=cloud)
    metres = refine_chunk(views, estimates, [None, None], CONFIG, metric=True)[0]
    assert metres.report.pixels.keys() == {"measured"}
    assert error(metres.depth, depths[0]) < 0.02
    unit = refine_chunk(views, estimates, [None, None], CONFIG, metric=False)[0]
    assert unit.report.pixels == {}
    np.testing.assert_array_equal(unit.depth, estimates[0].depth)


def mounted(places, bodies):
    """The same, of rigs whose frame is their first camera's."""
    views, estimates, depths = chunk(places)
    first = {body: places[bodies.index(body)] for body in bodies}
    views = [
        replace(view, name=f"cam{i}", body=body, mount=invert(first[body]) @ at)
        for i, (view, at, body) in enumerate(zip(views, places, bodies, strict=True))
    ]
    return views, estimates, depths


def test_a_rig_is_two_mounted_cameras_of_one_moment():
    views, _, _ = mounted((*ROW, *ROW), (0, 0, 1, 1))
    assert has_rig(views)
    assert not has_rig([views[0], views[2]])  # one camera at two moments
    assert not has_rig([views[0], replace(views[1], mount=None)])
    assert not has_rig([])


def test_the_cameras_of_each_moment_refine_each_other_whatever_the_motion():
    """The rig turns and goes on between two moments; its mounts are all that is asked."""
    on = pose(0.3, 0.05, 0.1, turn=(0, 12, 0))
    places = (*ROW, *(on @ at for at in ROW))
    views, estimates, depths = mounted(places, (0, 0, 1, 1))
    found = refine_moments(views, estimates, CONFIG)
    for better, estimate, depth in zip(found, estimates, depths, strict=True):
        assert error(estimate.depth, depth) > 0.06
        assert error(better.depth, depth) < 0.012
    alone = refine_moments(views[:2], estimates[:2], CONFIG)
    np.testing.assert_array_equal(alone[0].depth, found[0].depth)  # the other moment has no say


def test_who_is_not_mounted_is_not_asked():
    views, estimates, depths = mounted(ROW, (0, 0))
    views.append(replace(views[0], mount=None))
    found = refine_moments(views, [*estimates, estimates[0]], CONFIG)
    assert found[2] is None
    assert error(found[0].depth, depths[0]) < 0.012
