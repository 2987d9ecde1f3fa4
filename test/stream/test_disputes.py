# SPDX-License-Identifier: Apache-2.0
"""Two nodes that publish one frame are told of; motion, noise and repeated transforms are not taken for that."""

from needs import needs

needs("rosbags", "scipy")

import cv2
import numpy as np
import pytest
from wrong_depth import Wires, wall

from da3_ros.stream.diagnostics import OK, WARN
from da3_ros.stream.transforms import TransformError, TransformTree

MS = 1_000_000


def at(x=0.0, degrees=0.0):
    T = np.eye(4)
    T[0, 3] = x
    T[:3, :3] = cv2.Rodrigues(np.radians([0.0, 0.0, degrees]))[0]
    return T


def fed(entries):
    """A tree that was told of (ms, x, degrees) of odom -> base_link."""
    tree = TransformTree()
    tree.add("base_link", "camera", np.eye(4), 0, static=True)
    for ms, x, degrees in entries:
        tree.add("odom", "base_link", at(x, degrees), int(ms * MS), static=False)
    return tree.disputed("odom", "camera")


def two(other, every=1, shift=5):
    """A robot at 1 m/s by one node, and `other` metres beside that by another one."""
    for index in range(30):
        yield 20 * index, 0.02 * index, 0.0
        if index % every == 0:
            yield 20 * index + shift, 0.02 * index + other, 0.0


@pytest.mark.parametrize("shift", [5, -5, 0])
@pytest.mark.parametrize("every", [1, 4])
def test_two_nodes_that_publish_one_transform(every, shift):
    (text,) = fed(two(1.0, every, shift))
    assert "odom -> base_link goes to and fro by " in text
    assert float(text.split("by ")[1].split(" m")[0]) == pytest.approx(1.0, abs=0.1)
    assert "m and 0 deg from one message to the next, as where two nodes publish it" in text


def test_they_may_differ_by_their_angle_alone():
    assert fed((10 * i, 0.0, 5.0 * (i % 2)) for i in range(10))


@pytest.mark.parametrize(
    "entries",
    [
        [(20 * i, 0.02 * i, 0.0) for i in range(50)],
        [(20 * (i // 2), 0.02 * (i // 2), 0.0) for i in range(50)],  # repeated
        [(20 * i, 0.005 * (-1) ** i, 0.2 * (-1) ** i) for i in range(50)],  # noise
        [(20 * i, np.sin(i / 3), 40 * np.sin(i / 3)) for i in range(100)],  # a robot that shakes its head
        [(20 * i, 0.02 * i + (5.0 if i > 25 else 0.0), 0.0) for i in range(50)],  # a loop was closed
        [(20 * i, 0.02 * i + (5.0 if i in (10, 40) else 0.0), 0.0) for i in range(50)],  # two that are wrong
        [(100 * i, *noise) for i, noise in enumerate(np.random.default_rng(5).normal(0, (0.05, 2.0), (300, 2)))],
        [(20 * i, 5.0 * (i % 700 == 0), 0.0) for i in range(4000)],  # once in fourteen seconds
        [(200 * i, 0.0, 1.7 * (-1) ** i) for i in range(50)],  # a walking robot that rocks
        [(1000 * i, 0.0, 90.0 * (i % 2)) for i in range(50)],  # a pan unit with two presets
    ],
)
def test_what_is_one_motion(entries):
    assert fed(entries) == []


def test_a_frame_below_two_parents():
    tree = TransformTree()
    tree.add("base_link", "camera", np.eye(4), 0, static=True)
    for ms in range(0, 100, 10):
        for parent in ("odom", "base_footprint"):
            tree.add(parent, "base_link", np.eye(4), ms * MS, static=False)
    (text,) = tree.disputed("odom", "camera")
    assert "base_link is published below base_footprint and odom in turn: two nodes publish its transform" in text
    assert tree.disputed("base_link", "camera") == []  # nothing of it is asked for
    tree.clear_moving()
    assert tree.disputed("odom", "camera") == []
    with pytest.raises(TransformError):
        tree.lookup("odom", "camera", 0)


@pytest.mark.parametrize("frame", ["odom", ""])
def test_it_is_said_where_it_matters(frame):
    wires = Wires(wall("beside"), None, odometry_frame=frame)
    for ms, x, _ in two(0.5):
        wires.tree.add("odom", "base_link", at(x), 1_700_000_000_000_000_000 + ms * MS, static=False)
    wires.send()
    status = wires.status("pipeline")
    assert ("odom -> base_link goes to and fro by 0.5" in status.message) is bool(frame)
    assert status.level == (WARN if frame else OK)
