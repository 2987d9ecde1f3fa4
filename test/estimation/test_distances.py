# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.estimation.scale.distances import scale_from_distances


def at(*positions):
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, :3, 3] = positions
    return poses


LINE = at((0, 0, 0), (1, 0, 0), (3, 0, 0))


@pytest.mark.parametrize("poses", [LINE, LINE[:2], at((0, 0, 0), (0, 2, 1), (1, 0, 4), (3, 3, 3))])
def test_scale_of_two_collinear_and_other_cameras(poses):
    own = poses.copy()
    own[:, :3, 3] /= 2.5
    found = scale_from_distances(own, list(poses), 0.02)
    assert (found.source, found.metric) == ("rig", True)
    assert found.value == pytest.approx(2.5)
    assert np.isnan(found.residual) == (len(poses) == 2)


def test_unknown_cameras_do_not_count():
    own = LINE.copy()
    own[1, :3, 3] = 100
    own[2, :3, 3] /= 2
    assert scale_from_distances(own, [LINE[0], None, LINE[2]], 0.02).value == pytest.approx(2)


def test_one_camera_or_cameras_in_one_place_tell_nothing():
    for known in ([LINE[0]], [LINE[0], LINE[0]], [LINE[0], None, None]):
        found = scale_from_distances(LINE[: len(known)], known, 0.02)
        assert not found.metric
        assert "0.02 m apart" in found.message


def test_distances_that_do_not_agree_are_refused():
    own = at((0, 0, 0), (1, 0, 0), (1, 0.1, 0))
    assert "differ from the rig's" in scale_from_distances(own, list(LINE), 0.02).message
