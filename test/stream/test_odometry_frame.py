# SPDX-License-Identifier: Apache-2.0
"""The frame of the topic odometry says whether the motion is in metres, whatever the depth of the set is in."""

from needs import needs

needs("rosbags", "scipy")

import numpy as np
import pytest
from wrong_depth import Wires, wall

from da3_ros.estimation import OdometryEstimate


class Told:
    """Tells the same motion of every set, in metres or not."""

    def __init__(self, metric):
        self.motion = OdometryEstimate(np.eye(4), np.eye(6), 50, "", metric)

    def measure(self, views, prepared):
        return views, prepared

    def __call__(self, measured, depths, metric):
        return self.motion


@pytest.mark.parametrize("source", ["given", "none"])
@pytest.mark.parametrize(("metric", "frame"), [(True, "da3_odom"), (False, "da3_odom_relative")])
def test_the_frame_of_the_odometry_is_that_of_its_unit(source, metric, frame):
    wires = Wires(wall(), ("odometry",), **{"scale.source": source, "inference.size": 84, "refinement.source": "none"})
    wires.pipeline._estimator.odometry = Told(metric)
    assert wires.send(0).scale.metric == (source == "given")
    assert wires.topics["odometry"].messages[-1].header.frame_id == frame
