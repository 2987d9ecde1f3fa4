# SPDX-License-Identifier: Apache-2.0
"""What is said of how sure a pose is, by where it comes from: docs/node.md names the numbers."""

from dataclasses import replace

import numpy as np
import pytest
from known_depth import RECORD, KnownDepthEngine

from da3_ros.estimation import Estimator, EstimatorConfig, ScaleConfig, ViewSet
from da3_ros.estimation.pose import PoseConfig
from da3_ros.models import PoseAccuracy

UNIT = 2.5


def poses(rig, source, known, *, unit=UNIT, pose_source="calibrated", accuracy=None, factor=1.0, scale=None):
    """Poses of an estimate; known: of which views the pose is; factor: of the depth of both the network and truth."""
    record = replace(RECORD, pose_accuracy=accuracy or PoseAccuracy())
    engine = KnownDepthEngine([factor * depth for depth in rig.depths], rig.poses, unit)
    scale = scale or ScaleConfig(source="given", value=unit)
    estimator = Estimator(engine, record, EstimatorConfig(pose=PoseConfig(source), scale=scale))
    views = [
        replace(view, pose=view.pose if i in known else None, pose_source=pose_source)
        for i, view in enumerate(rig.views)
    ]
    return [view.pose for view in estimator(ViewSet(views)).views]


def deviations(pose):
    """Standard deviations (2,) of position in metres and rotation in radians, the same along and about all axes."""
    variances = np.diag(pose.covariance)
    assert (pose.covariance == np.diag(variances)).all()
    np.testing.assert_array_equal(variances, np.repeat(variances[[0, 3]], 3))
    return np.sqrt(variances[[0, 3]])


@pytest.mark.parametrize("pose_source", ["calibrated", "odometry"])
def test_a_known_pose_is_that_of_a_careful_calibration(rig, pose_source):
    for pose in poses(rig, "network", (0, 1), pose_source=pose_source):
        assert pose.source == pose_source
        metres, radians = deviations(pose)
        assert metres == pytest.approx(0.005)
        assert np.degrees(radians) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("unit", [1.0, 2.5])
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_pose_of_the_network_is_as_exact_as_the_model_s_record_says(rig, unit, factor):
    """Its length is a share of the median depth, in metres; where nothing is known the first camera is the world."""
    accuracy = PoseAccuracy(rotation_deg=4.0, translation_ratio=0.15)
    first, second = poses(rig, "network", (), unit=unit, accuracy=accuracy, factor=factor)
    assert not first.covariance.any()
    assert second.source == "network"
    metres, radians = deviations(second)
    assert metres == pytest.approx(0.15 * factor * np.median(rig.depths), rel=0.02)
    assert np.degrees(radians) == pytest.approx(4.0)


def test_without_a_unit_it_is_in_that_of_the_depth(rig):
    accuracy = PoseAccuracy(rotation_deg=4.0, translation_ratio=0.15)
    _, second = poses(rig, "network", (), accuracy=accuracy, scale=ScaleConfig(source="none"))
    assert deviations(second)[0] == pytest.approx(0.15 * np.median(rig.depths) / UNIT, rel=0.02)


def test_of_an_unknown_pose_nothing_is_sure(rig):
    """Beside a known one: `calibrated` seeks no others."""
    known, unknown = poses(rig, "calibrated", (0,))
    assert (known.source, unknown.source) == ("calibrated", "none")
    metres, radians = deviations(unknown)
    assert metres >= 1000
    assert radians >= np.pi


def test_a_pose_of_matches_is_as_exact_as_they_are(rig):
    """Far better than the network's, and not so good as a calibration."""
    _, second = poses(rig, "matches", (0,))
    assert second.source == "matches"
    metres = np.sqrt(np.trace(second.covariance[:3, :3]))
    assert 0.001 < metres < 0.05
    assert np.linalg.norm(second.T_world_camera[:3, 3] - rig.poses[1][:3, 3]) < 4 * metres
