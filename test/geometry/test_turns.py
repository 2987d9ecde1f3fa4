# SPDX-License-Identifier: Apache-2.0
"""Rotations of any angle, by search."""

from needs import needs

needs("hypothesis")

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turns import rotation

from da3_ros.geometry import poses

angles = st.floats(-3.1, 3.1)


@given(angles, angles, angles)
def test_quaternion_round_trip(rx, ry, rz):
    r = rotation(rx, ry, rz)
    q = poses.quaternion_from_matrix(r)
    assert q[3] >= 0
    assert np.linalg.norm(q) == pytest.approx(1)
    np.testing.assert_allclose(poses.matrix_from_quaternion(q), r, atol=1e-9)


@given(st.floats(1e-4, 3.1))
def test_rotation_angle(angle):
    assert float(poses.rotation_angle(rotation(angle, 0, 0))) == pytest.approx(angle, rel=1e-6)
