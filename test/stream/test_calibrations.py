# SPDX-License-Identifier: Apache-2.0
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from needs import needs

from da3_ros.stream.calibrations import KEPT, Calibrations


def info(stamp_ns, name="", frame="a"):
    stamp = SimpleNamespace(sec=0, nanosec=stamp_ns)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id=frame), name=name)


def test_an_image_has_the_calibration_of_its_stamp_whatever_came_later():
    kept = Calibrations()
    for stamp in (1, 2, 3):
        kept.add("a", info(stamp, f"a{stamp}"))
    kept.add("b", info(9, "b9"))
    assert [kept.of("a", stamp).name for stamp in (3, 1, 2)] == ["a3", "a1", "a2"]
    assert kept.of("a", 50).name == "a3"
    assert kept.of("b", 1).name == "b9"  # of a camera that sends one for all
    assert kept.of("c", 1) is None


def test_one_that_comes_just_after_its_image_is_waited_for():
    kept = Calibrations(patience_s=5.0)
    kept.add("a", info(1, "old"))
    threading.Timer(0.05, lambda: kept.add("a", info(2, "new"))).start()
    assert kept.of("a", 2).name == "new"


def test_what_does_not_come_is_waited_for_once():
    kept = Calibrations(patience_s=0.1)
    kept.add("a", info(0, "the only one"))
    begin = time.monotonic()
    assert [kept.of("a", stamp).name for stamp in range(1, 50)] == ["the only one"] * 49
    assert time.monotonic() - begin < 2
    kept.add("a", info(49))  # it does come, only later than that: from now on it is waited for again
    begin = time.monotonic()
    kept.of("a", 60)
    assert time.monotonic() - begin > 0.08


def test_what_is_kept_has_an_end():
    kept = Calibrations()
    for stamp in range(2 * KEPT):
        kept.add("a", info(stamp, stamp))
    assert kept.of("a", 0).name == 2 * KEPT - 1
    assert kept.of("a", KEPT).name == KEPT


def test_one_topic_with_the_calibrations_of_two_cameras():
    kept = Calibrations()
    for stamp in (1, 2):
        for frame in ("left", "right"):
            kept.add("a", info(stamp, f"{frame}{stamp}", frame))
    assert [kept.of("a", stamp, "left").name for stamp in (1, 2, 9)] == ["left1", "left2", "left2"]
    assert kept.of("a", 2, "right").name == "right2"
    assert kept.of("a", 1, "elsewhere").name in ("left1", "right1")


def test_of_a_time_that_is_over_nothing_holds():
    """A simulation that was reset, with another camera: what came before lies in the future then."""
    kept, second = Calibrations(), 1_000_000_000

    def at(seconds, name):
        stamp = SimpleNamespace(sec=seconds, nanosec=0)
        kept.add("a", SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id="a"), name=name))

    for seconds in range(10):
        at(seconds, "before")
    at(0, "after")
    assert [kept.of("a", n * second + 1, "a").name for n in (0, 3, 20)] == ["after"] * 3
    at(1, "later")
    assert [kept.of("a", n * second + 1, "a").name for n in (0, 1)] == ["after", "later"]


def test_a_topic_that_changes_to_another_cameras_is_not_hidden_by_what_it_sent_before():
    kept, second = Calibrations(), 1_000_000_000
    kept.add("a", info(0, "left", "left"))
    kept.add("a", info(second, "right", "right"))
    assert kept.of("a", second, "left").name == "left"
    later = SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=2, nanosec=0), frame_id="right"), name="right"
    )
    kept.add("a", later)
    assert kept.of("a", 2 * second, "left").name == "right"
    assert kept.of("a", 0, "left").name == "left"


@pytest.mark.parametrize("rectified", [False, True])
def test_a_rotation_that_is_none_matters_to_rectified_images_alone(rectified):
    needs("rosbags")
    from bags import CAMERA, TYPES

    from da3_ros.messages import MessageError, encode_camera_info
    from da3_ros.stream.calibrations import calibrate

    message = encode_camera_info(TYPES, CAMERA, TYPES.header(0, "left"))
    message.r = np.full(9, np.nan)
    said = []
    camera = SimpleNamespace(rectified=rectified, rectified_said=True, name="left", image_topic="/left/image")
    size = (CAMERA.width, CAMERA.height)
    if rectified:
        with pytest.raises(MessageError, match="is no rotation"):
            calibrate(camera, message, "left", size, (), said.append)
    else:
        model, turn = calibrate(camera, message, "left", size, (), said.append)
        assert (model.width, turn) == (CAMERA.width, None)
        assert "it has no part in raw images" in said[0]
