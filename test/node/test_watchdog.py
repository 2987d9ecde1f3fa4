# SPDX-License-Identifier: Apache-2.0
"""What the watchdog says and gives up, on a clock of the test's own."""

from needs import needs

needs("rclpy")

from dataclasses import replace
from types import SimpleNamespace

import pytest

from da3_ros.node import watchdog as module
from da3_ros.node.watchdog import Watchdog
from da3_ros.stream.diagnostics import Health
from da3_ros.stream.parameters import SPECS, camera_specs, read_parameters
from da3_ros.sync import FrameBuffer

S = 1_000_000_000


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def dog(monkeypatch):
    """A watchdog over two cameras; `feed` and `wait` let time go by."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    specs = {spec.name: spec.default for spec in (*SPECS, *camera_specs("left"), *camera_specs("right"))}
    values = {**specs, "cameras": ["left", "right"], "watchdog.timeout": 1.0}
    parameters = read_parameters(values.__getitem__)
    buffer = FrameBuffer(["left", "right"], parameters.sync)
    health = Health(["left", "right"], lambda level, text: None, clock=clock.monotonic)
    given = []
    logger = SimpleNamespace(info=lambda text: None)
    node = SimpleNamespace(
        create_timer=lambda period, callback, clock=None: SimpleNamespace(period=period, callback=callback),
        destroy_timer=lambda timer: None,
        resolve_topic_name=lambda topic: topic,
        get_publishers_info_by_topic=lambda topic: [],
        get_logger=lambda: logger,
        get_clock=lambda: SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=1)),
    )
    dog = Watchdog(node, parameters, buffer, health, lambda frames: given.append(frames) if frames else None)

    def feed(*cameras, stamp=None):
        for camera in cameras:
            stamp_ns = round(clock.now * S) if stamp is None else stamp
            before = buffer.newest.get(camera)
            found = buffer.push(camera, stamp_ns, None)
            dog.frame_came(camera, stamp_ns, before)
            health.frame_arrived(camera)
            if found:
                given.append(found)
                dog.set_came()

    def wait(seconds):
        clock.now += seconds
        dog._timer.callback()

    def says(camera, kind):
        issue = health.issues().get((camera, kind))
        return issue.text if issue else ""

    dog.start()
    return SimpleNamespace(dog=dog, feed=feed, wait=wait, says=says, given=given, buffer=buffer, parameters=parameters)


def test_a_silent_camera_is_given_up_and_named(dog):
    dog.feed("left", "right")
    for _ in range(6):
        dog.wait(0.25)
        dog.feed("left")
    dog.wait(0.25)
    assert dog.buffer.excluded == {"right"}
    assert "/right/image_raw: no image for" in dog.says("right", "silent")
    assert "start its driver" in dog.says("right", "silent")
    dog.feed("right")
    assert dog.says("right", "silent") == ""


def test_after_a_pause_of_all_nobody_is_given_up_for_coming_second(dog):
    dog.feed("left", "right")
    for _ in range(10):
        dog.wait(0.5)
    assert dog.buffer.excluded == frozenset()
    assert "no other camera sends either" in dog.says("left", "silent")
    count = len(dog.given)
    dog.feed("left")
    dog.wait(0.02)
    assert dog.buffer.excluded == frozenset()
    dog.feed("right", stamp=dog.buffer.newest["left"])
    assert len(dog.given) == count + 1
    assert dog.given[-1].missing == ()
    # But one that stays away is given up after the timeout.
    for _ in range(5):
        dog.wait(0.3)
        dog.feed("left")
    dog.wait(0.1)
    assert dog.buffer.excluded == {"right"}


def test_frames_without_partners_are_counted_over_five_seconds(dog):
    for turn in range(40):
        dog.feed("left", *(["right"] if turn % 2 else []))
        dog.wait(0.1)
    text = dog.says("left", "partners")
    assert "of 40 frames found no partner" in text or "of 39 frames found no partner" in text
    assert "right 5." in text
    assert dog.says("right", "partners") == ""


def test_stamps_that_never_meet(dog):
    for _ in range(15):
        dog.feed("left")
        dog.feed("right", stamp=dog.buffer.newest["left"] - 5 * S)
        dog.wait(0.1)
    assert "newest stamps are 5000 ms apart (right is behind left)" in dog.says("", "unmatched")


def test_zero_stamps_and_jumps(dog):
    dog.feed("left", stamp=0)
    assert "stamps are 0 s: the driver must stamp its images" in dog.says("left", "stamp")
    dog.feed("right", stamp=500 * S)
    dog.feed("right", stamp=480 * S)
    assert "stamps went back by 20.0 s" in dog.says("", "jump")


def test_the_timeout_changes_live(dog):
    period = dog.dog._timer.period
    checks = replace(dog.parameters.checks, watchdog_timeout=0.4)
    dog.dog.reconfigure(replace(dog.parameters, checks=checks))
    assert dog.dog._timer.period < period
