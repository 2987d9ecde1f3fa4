# SPDX-License-Identifier: Apache-2.0
"""The ground at a known height: its numbers, and when there is none."""

import numpy as np
import pytest

from da3_ros.estimation.scale.ground import scale_from_ground

UP = np.array([0.0, -1.0, 0.0])
NONE = "no camera sees level ground: tilt one down, or take another scale.source"


def plane(count=3000, below=0.6, tilt=0.0, noise=0.0, seed=0):
    """Points (N, 3) of ground so far below the camera, that falls by `tilt` degrees towards the right."""
    rng = np.random.default_rng(seed)
    x, z = rng.uniform(-2, 2, count), rng.uniform(1, 5, count)
    c = np.cos(np.radians(tilt))
    return np.stack([x, below / c + np.tan(np.radians(tilt)) * x + noise * rng.normal(size=count) / c, z], axis=1)


def told(*clouds, up=UP, height=1.5):
    return scale_from_ground(list(clouds), [up] * len(clouds), [height] * len(clouds))


def test_the_scale_is_the_height_over_the_distance():
    found = told(plane(below=0.6, noise=0.004))
    assert (found.source, found.metric, found.shift, found.message) == ("camera_height", True, 0.0, "")
    assert found.value == pytest.approx(1.5 / 0.6, rel=0.003)
    assert found.residual == pytest.approx(0.6745 * 0.004 / 0.6, rel=0.1)  # the median of |N(0, 1)|
    assert found.inliers > 2900
    assert told(plane(noise=0.004), up=7 * UP).value == found.value  # a direction has no length


def test_a_plane_s_distance_is_across_it():
    assert told(plane(below=0.6, tilt=12.0)).value == pytest.approx(1.5 / 0.6, rel=0.005)


@pytest.mark.parametrize(("tilt", "is_ground"), [(13.0, True), (17.0, False)])
def test_ground_is_level_to_fifteen_degrees(tilt, is_ground):
    for length in (0.2, 1.0, 7.0):  # of what is said to be up
        assert told(plane(tilt=tilt), up=length * UP).metric is is_ground


def test_of_several_cameras_the_middle_counts():
    clouds = [plane(below=below) for below in (0.5, 0.6, 1.0)]
    found = scale_from_ground(clouds, [UP] * 3, [1.5, 1.5, 1.5])
    assert found.value == pytest.approx(1.5 / 0.6, rel=1e-3)
    alone = [told(cloud) for cloud in clouds]
    assert found.inliers == sum(each.inliers for each in alone)
    assert found.residual == pytest.approx(np.median([each.residual for each in alone]))


def test_cameras_that_see_no_ground_or_stand_on_it_count_for_nothing():
    wall = np.stack([*np.random.default_rng(0).uniform(-1, 1, (2, 3000)), np.full(3000, 3.0)], axis=1)
    found = scale_from_ground([wall, plane(), plane(below=0.1)], [UP] * 3, [1.5, 1.5, 0.0])
    assert found.value == pytest.approx(2.5, rel=1e-3)
    none = scale_from_ground([wall, plane()], [UP] * 2, [1.5, -0.1])
    assert (none.source, none.metric, none.message) == ("none", False, NONE)


@pytest.mark.parametrize(("count", "is_enough"), [(99, False), (100, True)])
def test_a_hundred_points_below_the_horizon_are_needed(count, is_enough):
    above = plane(300) * [1, -1, 1]
    broken = np.full((200, 3), np.nan)
    assert told(np.concatenate([plane(count), above, broken])).metric is is_enough


def test_a_table_is_not_the_ground_though_it_has_more_points():
    found = told(np.concatenate([plane(2000, below=0.3, seed=1), plane(1200, below=0.6)]))
    assert found.value == pytest.approx(2.5, rel=0.01)


def test_a_level_plane_with_most_points_far_below_it_is_no_ground():
    """Stairs: no plane has enough of them."""
    steps = [plane(400, below=0.3 + 0.15 * k, seed=k) for k in range(12)]
    assert not told(
        np.concatenate([plane(700, below=0.2), *[plane(150, 0.3 + 0.1 * k, seed=k) for k in range(20)]])
    ).metric
    assert told(steps[0]).metric


def test_it_is_the_same_each_time():
    cloud = plane(8000, noise=0.01)
    assert told(cloud) == told(cloud)
