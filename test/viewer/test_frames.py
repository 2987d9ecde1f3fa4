# SPDX-License-Identifier: Apache-2.0
"""Where frames are, who says so, and which of them the world is shown in; without Rerun."""

from types import SimpleNamespace

import numpy as np
import pytest

from da3_ros.viewer.frames import MOST_ROWS, ODOMETRY, POSE, TRANSFORM, Frames
from da3_ros.viewer.paths import LEAST, MOST, Path

SECOND = 1_000_000_000
EYE = np.eye(4)


class Stream:
    """Notes what is sent instead of sending it."""

    def __init__(self):
        self.worlds, self.rows, self.fixed, self.time = [], [], [], None

    def set_time(self, timeline, *, timestamp):
        self.time = int(timestamp.astype("int64"))

    def log(self, entity, *what, static=False):
        if entity == "world":
            self.worlds.append((self.time, *what))
        else:
            self.fixed.append((entity, what[0], static))

    def send_columns(self, entity, *, indexes, columns):
        self.rows += [(entity, int(stamp), parent) for stamp, parent in zip(indexes[0], columns, strict=True)]


def sdk():
    return SimpleNamespace(
        escape_entity_path_part=lambda part: part,
        CoordinateFrame=lambda frame: frame,
        ViewCoordinates=SimpleNamespace(RDF="RDF", RIGHT_HAND_Z_UP="Z"),
        TimeColumn=lambda timeline, timestamp: timestamp.astype("int64"),
        Quaternion=lambda xyzw: xyzw,
        Transform3D=_Transform3D,
    )


class _Transform3D:
    def __init__(self, **values):
        self.values = values

    @staticmethod
    def columns(*, translation, quaternion, parent_frame, child_frame):
        assert len(translation) == len(quaternion) == len(child_frame)
        return parent_frame


@pytest.fixture
def world():
    stream = Stream()
    return Frames(sdk(), stream, SECOND), stream


def test_rows_are_sent_some_at_a_time_and_none_is_lost(world):
    frames, stream = world
    for index in range(25):
        frames.place("odom", "base", EYE, index * SECOND // 10, TRANSFORM, "/tf", static=False)
    assert [stamp for _, stamp, _ in stream.rows] == [index * SECOND // 10 for index in range(22)]
    frames.flush()
    assert len(stream.rows) == 25
    frames.flush()
    assert len(stream.rows) == 25


def test_rows_of_one_moment_do_not_pile_up(world):
    frames, stream = world
    for _ in range(MOST_ROWS):
        frames.place("odom", "base", EYE, 5, TRANSFORM, "/tf", static=False)
    assert len(stream.rows) == MOST_ROWS


def test_tf_is_believed_before_odometry_and_odometry_before_a_pose(world):
    frames, stream = world
    say = {
        "pose": lambda: frames.place("world", "base", EYE, 1, POSE, "/da3/left/pose", static=False),
        "odometry": lambda: frames.place("da3_odom", "base", EYE, 2, ODOMETRY, "/da3/odometry", static=False),
        "another": lambda: frames.place("other", "base", EYE, 2, ODOMETRY, "/other", static=False),
        "tf": lambda: frames.place("odom", "base", EYE, 3, TRANSFORM, "/tf", static=False),
    }
    assert say["pose"]()
    assert say["odometry"]()
    assert not say["another"]()
    assert not say["pose"]()
    assert say["tf"]()
    assert not say["odometry"]()
    frames.flush()
    assert [parent for _, _, parent in stream.rows] == ["world", "da3_odom", "odom"]
    assert {entity for entity, _, _ in stream.rows} == {"tf/base"}  # Rerun knows a frame by one entity


def test_what_is_fixed_stays(world):
    frames, stream = world
    frames.place("base", "eye", EYE, 0, TRANSFORM, "/tf_static", static=True)
    frames.place("base", "eye", EYE, 5, TRANSFORM, "/tf", static=False)
    frames.flush()
    assert stream.rows == []
    ((entity, row, static),) = stream.fixed
    assert (entity, static) == ("tf/eye", True)
    assert row.values["parent_frame"] == "base"


@pytest.mark.parametrize(("parent", "child"), [("", "a"), ("a", ""), ("a", "a")])
def test_no_frame_hangs_from_nothing_or_itself(world, parent, child):
    frames, _ = world
    assert not frames.place(parent, child, EYE, 0, TRANSFORM, "/tf", static=False)


def test_a_circle_ends(world):
    frames, _ = world
    frames.place("a", "b", EYE, 0, TRANSFORM, "/tf", static=False)
    frames.place("b", "a", EYE, 0, TRANSFORM, "/tf", static=False)
    assert frames.root("a") in ("a", "b")


def test_the_world_is_what_all_hangs_from(world):
    frames, stream = world
    frames.show("eye", 0, optical=True)
    frames.place("base", "eye", EYE, 0, TRANSFORM, "/tf_static", static=True)
    frames.show("eye", 1, optical=True)
    frames.place("odom", "base", EYE, 2, TRANSFORM, "/tf", static=False)
    for stamp in (3, 4):
        frames.show("base", stamp, optical=False)
    assert stream.worlds == [(0, "eye", "RDF"), (1, "base", "Z"), (3, "odom", "Z")]


def test_two_worlds_do_not_take_turns_but_one_that_is_over_gives_way(world):
    frames, stream = world
    for index in range(5):
        for eye in ("left", "right"):
            frames.show(eye, index * SECOND // 5, optical=True)
    assert [root for _, root, _ in stream.worlds] == ["left"]
    for index in range(5, 15):
        frames.show("right", index * SECOND // 5, optical=True)
    assert [root for _, root, _ in stream.worlds] == ["left", "right"]
    assert stream.worlds[-1][0] == 2 * SECOND  # nothing of the first one for more than a second


def test_a_path_grows_only_by_motion_and_stays_short():
    path = Path()
    assert not path.go("odom", np.zeros(3))
    assert not path.go("odom", np.array([LEAST / 2, 0, 0]))
    assert path.go("odom", np.array([1.0, 0, 0]))
    assert path.places().tolist() == [[0, 0, 0], [1, 0, 0]]
    for index in range(2, 3 * MOST):
        path.go("odom", np.array([float(index), 0, 0]))
    assert MOST / 2 <= len(path.places()) < MOST
    assert path.places()[0].tolist() == [0, 0, 0]
    assert path.places()[-1][0] >= 3 * MOST - 4
    assert not path.go("map", np.zeros(3))
    assert path.places().tolist() == [[0, 0, 0]]
