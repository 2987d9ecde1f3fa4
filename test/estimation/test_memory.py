# SPDX-License-Identifier: Apache-2.0
"""What the estimator learns of earlier sets: forgotten on a jump in time, kept or not by a change of parameters."""

from dataclasses import replace

import numpy as np
import pytest
from known_depth import RECORD, KnownDepthEngine

from da3_ros.estimation import Estimator, EstimatorConfig, ScaleConfig, ViewSet
from da3_ros.estimation.pose import PoseConfig
from da3_ros.estimation.pose.matches import MatchesConfig


class Walk:
    """A pair of cameras that stands still, and one that was moved from the left to the right place in between."""

    def __init__(self, rig, **config):
        self.rig, self.count = rig, 0
        self.config = EstimatorConfig(
            scale=ScaleConfig(smoothing=0.0), rig_check_period=10.0, **{"pose": PoseConfig("calibrated"), **config}
        )
        engine = KnownDepthEngine([rig.depths[1], rig.depths[0], rig.depths[1]], rig.poses[[1, 0, 1]], 2.0)
        self.estimator = Estimator(engine, RECORD, self.config)

    def pair(self):
        """A set of both cameras: its scale is told, its rig is checked."""
        self.count += 1
        stamp = 1_000_000_000 + 100_000_000 * self.count
        views = [replace(view, mount=view.pose, stamp_ns=stamp) for view in self.rig.views]
        self.estimator.engine.depths = list(self.rig.depths)
        self.estimator.engine.poses = self.rig.poses
        return self.estimator(ViewSet(views))

    def one(self, index):
        """A set of one camera that stands at a place of the rig: metres along x since the start."""
        self.count += 1
        stamp = 1_000_000_000 + 100_000_000 * self.count
        self.estimator.engine.depths = [self.rig.depths[index]]
        view = replace(self.rig.views[index], pose=None, name="left", stamp_ns=stamp)
        return self.estimator(ViewSet([view]), odometry=True)


@pytest.fixture
def walk(rig):
    found = Walk(rig)
    assert found.pair().rig is not None
    found.one(0)
    return found


def x(estimate):
    return float(estimate.odometry.T_start_body[0, 3])


def test_it_remembers(walk):
    there = walk.one(1)
    assert (there.scale.metric, there.scale.message[:4]) == (True, "held")
    assert x(there) == pytest.approx(0.2, abs=0.01)
    assert walk.pair().rig is None  # no check is due yet


def test_a_jump_in_time_makes_it_forget(walk):
    walk.estimator.reset()
    there = walk.one(1)
    assert not there.scale.metric
    assert x(there) == 0.0
    assert walk.pair().rig is not None


def test_another_estimator_can_go_on(walk, rig):
    other = Walk(rig)
    other.count = walk.count
    other.estimator.recall(walk.estimator.memory())
    there = other.one(1)
    assert there.scale.metric
    assert x(there) == pytest.approx(0.2, abs=0.01)
    assert other.pair().rig is None


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"max_range": 30.0}, (True, True, True)),
        ({"scale": ScaleConfig(smoothing=0.1)}, (False, True, True)),
        ({"pose": PoseConfig("calibrated", MatchesConfig(min_matches=21))}, (True, False, False)),
        ({"rig_check_period": 11.0}, (True, True, False)),
    ],
)
def test_what_a_change_of_parameters_keeps(walk, changes, kept):
    """Of scale, motion and the rig's check."""
    walk.estimator.reconfigure(replace(walk.config, **changes))
    there = walk.one(1)
    assert (there.scale.metric, x(there) > 0.05, walk.pair().rig is None) == kept


def test_matches_that_a_pose_needs_count_for_odometry_and_rig_check_from_the_change_on(walk):
    many = PoseConfig("calibrated", MatchesConfig(min_matches=100_000))
    walk.estimator.reconfigure(replace(walk.config, pose=many))
    walk.one(0)
    assert walk.one(1).odometry.message.startswith("fewer than 100000 matches")
    assert walk.pair().rig == ()


def test_without_anyone_who_wants_it_no_motion_is_followed(walk):
    assert walk.pair().odometry is None
    assert isinstance(walk.one(0).odometry.T_start_body, np.ndarray)


def test_a_period_set_live_switches_the_check_on_and_off(walk):
    walk.estimator.reconfigure(replace(walk.config, rig_check_period=0.0))
    assert walk.pair().rig is None
    walk.estimator.reconfigure(replace(walk.config, rig_check_period=0.1))
    assert len(walk.pair().rig) == 1
    assert walk.pair().rig[0].angle_deg < 0.2


def test_a_motion_stays_in_metres_when_the_scale_is_given_up(walk):
    walk.count += 1000  # far beyond scale.hold
    there = walk.one(1)
    assert (there.scale.metric, there.odometry.metric) == (False, True)
    assert x(there) == pytest.approx(0.2, abs=0.01)


def test_a_motion_has_no_unit_where_the_depth_never_had(rig):
    walk = Walk(rig)
    assert (walk.one(0).odometry.metric, walk.one(1).odometry.metric) == (False, False)
