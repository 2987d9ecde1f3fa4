# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from da3_ros.stream.transforms import TransformError, TransformTree

S = 1_000_000_000


def pose(x=0.0, y=0.0, z=0.0, yaw=0.0):
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1.0]])


# Camera axes in the body, by hand: optical z along the body's x, optical x along its -y, optical y along
# its -z.
OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


@pytest.fixture
def tree():
    """base_link -> mast (1 m up) -> left_optical (0.1 m to the left), and base_link -> rear_optical, turned
    around.
    """
    tree = TransformTree()
    tree.add("base_link", "mast", pose(z=1), 0, static=True)
    tree.add("mast", "left_optical", pose(y=0.1) @ OPTICAL, 0, static=True)
    tree.add("base_link", "rear_optical", pose(x=-0.3, yaw=math.pi) @ OPTICAL, 0, static=True)
    return tree


def test_direction_by_hand(tree):
    """A point 2 m ahead of the left camera lies 2 m ahead of the robot, a little left, 1 m up."""
    T_base_left = tree.lookup("base_link", "left_optical", 5 * S)
    np.testing.assert_allclose(T_base_left @ [0, 0, 2, 1], [2, 0.1, 1, 1], atol=1e-12)
    np.testing.assert_allclose(
        tree.lookup("left_optical", "base_link", 5 * S) @ [2, 0.1, 1, 1], [0, 0, 2, 1], atol=1e-12
    )


def test_between_branches(tree):
    T = tree.lookup("rear_optical", "left_optical", 0)
    expected = np.linalg.inv(tree.lookup("base_link", "rear_optical", 0)) @ tree.lookup("base_link", "left_optical", 0)
    np.testing.assert_allclose(T, expected, atol=1e-12)
    # 2 m ahead of the left camera is 2.3 m behind the rear one.
    np.testing.assert_allclose((T @ [0, 0, 2, 1])[2], -2.3, atol=1e-12)
    np.testing.assert_array_equal(tree.lookup("mast", "mast", 0), np.eye(4))


def test_moving_frames_are_interpolated(tree):
    tree.add("odom", "base_link", pose(x=1, yaw=0.0), 10 * S, static=False)
    tree.add("odom", "base_link", pose(x=3, yaw=math.pi / 2), 12 * S, static=False)
    np.testing.assert_allclose(tree.lookup("odom", "base_link", 11 * S), pose(x=2, yaw=math.pi / 4), atol=1e-12)
    np.testing.assert_allclose(tree.lookup("odom", "base_link", 10 * S), pose(x=1), atol=1e-12)
    np.testing.assert_allclose(tree.lookup("odom", "base_link", 12 * S), pose(x=3, yaw=math.pi / 2), atol=1e-12)
    # A little outside, the nearest one holds.
    np.testing.assert_allclose(
        tree.lookup("odom", "base_link", 12 * S + S // 20), pose(x=3, yaw=math.pi / 2), atol=1e-12
    )
    np.testing.assert_allclose(tree.lookup("odom", "base_link", 10 * S - S // 20), pose(x=1), atol=1e-12)


@pytest.mark.parametrize("stamp", [9, 13])
def test_far_outside_of_the_history(tree, stamp):
    tree.add("odom", "base_link", pose(x=1), 10 * S, static=False)
    tree.add("odom", "base_link", pose(x=3), 12 * S, static=False)
    with pytest.raises(TransformError, match=rf"from 10.000 s to 12.000 s, asked for {stamp}.000 s"):
        tree.lookup("odom", "base_link", stamp * S)


def test_history_is_bounded_and_sorted():
    tree = TransformTree()
    for second in (0, 5, 3, 20, 15, 11):
        tree.add("odom", "base", pose(x=second), second * S, static=False)
    np.testing.assert_allclose(tree.lookup("odom", "base", 17 * S)[0, 3], 17)
    with pytest.raises(TransformError, match=r"known from 11\.000"):
        tree.lookup("odom", "base", 5 * S)


def test_time_set_back():
    tree = TransformTree()
    tree.add("odom", "base", pose(x=1), 100 * S, static=False)
    tree.add("odom", "base", pose(x=2), 1 * S, static=False)
    assert tree.lookup("odom", "base", 1 * S)[0, 3] == 2
    tree.clear_moving()
    with pytest.raises(TransformError, match="no transform at all"):
        tree.lookup("odom", "base", 1 * S)


def test_missing_frames_are_named(tree):
    with pytest.raises(TransformError, match=r"base_link -> front_optical: front_optical is unknown .known: base_link"):
        tree.lookup("base_link", "front_optical", 0)
    tree.add("island", "hut", pose(), 0, static=True)
    with pytest.raises(TransformError, match=r"both are known but not connected.*static_transform_publisher"):
        tree.lookup("base_link", "hut", 0)
    with pytest.raises(TransformError, match="no transform at all"):
        TransformTree().lookup("a", "b", 0)


def test_another_parent_replaces_the_first(tree):
    tree.add("arm", "left_optical", pose(x=7), 0, static=True)
    tree.add("base_link", "arm", pose(), 0, static=True)
    assert tree.lookup("base_link", "left_optical", 0)[0, 3] == 7


def test_loops_do_not_hang():
    tree = TransformTree()
    tree.add("a", "b", pose(), 0, static=True)
    tree.add("b", "a", pose(), 0, static=True)
    with pytest.raises(TransformError):
        tree.lookup("a", "c", 0)
