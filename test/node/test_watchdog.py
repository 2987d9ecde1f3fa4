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
    given, logged, publishers, timers = [], [], {}, []
    logger = SimpleNamespace(info=logged.append)
    now = SimpleNamespace(nanoseconds=1)

    def create_timer(period, callback, clock=None):
        timers.append(SimpleNamespace(period=period, callback=callback))
        return timers[-1]

    node = SimpleNamespace(
        create_timer=create_timer,
        destroy_timer=timers.remove,
        resolve_topic_name=lambda topic: topic,
        get_publishers_info_by_topic=lambda topic: publishers.get(topic, []),
        get_logger=lambda: logger,
        get_clock=lambda: SimpleNamespace(now=lambda: now),
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
    return SimpleNamespace(
        dog=dog, feed=feed, wait=wait, says=says, given=given, buffer=buffer, parameters=parameters, logged=logged,
        publishers=publishers, timers=timers, now=now, health=health,
    )  # fmt: skip


def publisher(kind="sensor_msgs/msg/Image", name="driver"):
    qos = SimpleNamespace(reliability=SimpleNamespace(name="RELIABLE"), durability=SimpleNamespace(name="VOLATILE"))
    return SimpleNamespace(node_name=name, topic_type=kind, qos_profile=qos)


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
    assert [timer.period for timer in dog.timers] == [0.25]
    dog.dog.reconfigure(dog.parameters)
    first = dog.timers[0]
    for timeout, period in ((0.4, 0.1), (8.0, 0.5)):
        checks = replace(dog.parameters.checks, watchdog_timeout=timeout)
        dog.dog.reconfigure(replace(dog.parameters, checks=checks))
        assert [timer.period for timer in dog.timers] == [period]
    assert dog.timers != [first]
    dog.feed("left", "right")
    dog.wait(7.9)
    assert dog.says("left", "silent") == ""
    dog.wait(0.2)
    assert "no image for 8 s" in dog.says("left", "silent")


def test_a_timeout_that_is_set_while_it_does_not_look_holds_from_its_start_on(dog):
    dog.dog.stop()
    checks = replace(dog.parameters.checks, watchdog_timeout=0.4)
    dog.dog.reconfigure(replace(dog.parameters, checks=checks))
    assert dog.timers == []
    dog.dog.stop()
    dog.dog.start()
    assert [timer.period for timer in dog.timers] == [0.1]


def test_each_start_begins_anew(dog):
    """Cameras that were silent before a deactivation get their time to come back."""
    dog.feed("left", "right")
    for _ in range(8):
        dog.wait(0.25)
        dog.feed("left")
    assert dog.buffer.excluded == {"right"}
    dog.dog.stop()
    dog.buffer.reset()
    dog.buffer.include_all()
    dog.dog.start()
    dog.feed("left")
    dog.wait(0.9)
    assert dog.buffer.excluded == frozenset()
    dog.feed("left")
    dog.wait(0.2)
    assert dog.buffer.excluded == {"right"}
    assert dog.says("right", "silent").startswith("/right/image_raw: no image for 1 s")


def test_a_camera_that_comes_back_is_told_of_once(dog):
    dog.feed("left", "right")
    for _ in range(6):
        dog.wait(0.25)
        dog.feed("left")
    assert dog.logged == []
    dog.feed("right")
    dog.feed("right", stamp=dog.buffer.newest["right"] + 1)
    assert dog.logged == ["right: images are back"]


def test_a_camera_that_comes_for_the_first_time_is_not_said_to_be_back(dog):
    for _ in range(6):
        dog.feed("left")
        dog.wait(0.25)
    assert dog.buffer.excluded == {"right"}
    dog.feed("right")
    assert dog.logged == []
    assert dog.says("right", "silent") == ""


@pytest.mark.parametrize(
    ("publishers", "words"),
    [
        (
            {},
            "/right/image_raw: no image for 1 s, 0 publishers; the others go on without it: start its driver",
        ),
        (
            {"/right/image_raw": [publisher()]},
            "1 publishers (driver: RELIABLE, VOLATILE); the others go on without it: check driver, cable and QoS "
            "(input_qos is SENSOR_DATA)",
        ),
        (
            {"/right/image_raw": [publisher("sensor_msgs/msg/CompressedImage")]},
            "transport raw reads sensor_msgs/msg/Image: correct right.transport or image_topic",
        ),
    ],
)
def test_what_may_be_the_matter_with_a_silent_camera(dog, publishers, words):
    dog.publishers.update(publishers)
    dog.feed("left", "right")
    for _ in range(5):
        dog.wait(0.25)
        dog.feed("left")
    assert words in dog.says("right", "silent")


def test_the_topic_of_a_compressed_camera_is_the_one_that_is_published(dog):
    cameras = tuple(replace(c, transport="compressed", image_topic=f"/{c.name}/image_raw/compressed",
                            plain_topic=f"/{c.name}/image_raw") for c in dog.parameters.cameras)  # fmt: skip
    dog.dog._cameras = {camera.name: camera for camera in cameras}
    for _ in range(6):
        dog.feed("left")
        dog.wait(0.25)
    assert "/right/image_raw/compressed or /right/image_raw: no image" in dog.says("right", "silent")
    dog.publishers["/right/image_raw"] = [publisher()]
    dog.wait(0.25)
    dog.feed("left")
    text = dog.says("right", "silent")
    assert text.startswith("/right/image_raw: no image")
    assert "transport compressed reads sensor_msgs/msg/CompressedImage: correct right.transport" in text
    dog.publishers["/right/image_raw"] = [publisher("sensor_msgs/msg/CompressedImage")]
    dog.feed("left")
    dog.wait(0.25)
    assert "check driver, cable and QoS" in dog.says("right", "silent")


def test_simulated_time_that_does_not_come(dog):
    dog.now.nanoseconds = 0
    dog.wait(0.1)
    assert dog.says("", "sim time").startswith("use_sim_time is set, and no time has come on /clock (0 publishers)")
    dog.publishers["/clock"] = [publisher("rosgraph_msgs/msg/Clock", "gazebo")]
    dog.wait(0.1)
    text = dog.says("", "sim time")
    assert text == (
        "use_sim_time is set, and the time on /clock is 0 (1 publishers (gazebo: RELIABLE, VOLATILE)): is the "
        "simulation paused?"
    )
    dog.now.nanoseconds = 5
    dog.wait(0.1)
    assert dog.says("", "sim time") == ""


def test_sets_that_are_given_out_without_a_camera_are_handed_over(dog):
    dog.feed("left", "right")
    for _ in range(4):
        dog.wait(0.25)
        dog.feed("left")
    assert [each.missing for each in dog.given] == [()]
    dog.wait(0.25)
    assert [each.missing for each in dog.given] == [(), ("right",)]
    assert dog.given[-1].stamp_ns == dog.buffer.newest["left"]


def test_no_word_of_stamps_while_sets_come_or_one_camera_is_left(dog):
    for _ in range(15):
        dog.feed("left", "right")
        dog.wait(0.1)
    assert dog.says("", "unmatched") == ""
    for _ in range(15):
        dog.feed("left")
        dog.wait(0.1)
    assert dog.buffer.excluded == {"right"}
    assert dog.says("", "unmatched") == ""


def test_the_camera_that_went_back_in_time_is_named_and_each_time(dog):
    dog.feed("left", "right", stamp=500 * S)
    dog.feed("right", stamp=480 * S)
    assert dog.says("", "jump").startswith("/right/image_raw: stamps went back by 20.0 s")
    dog.feed("left", stamp=479 * S)
    dog.feed("left", stamp=400 * S)
    assert dog.says("", "jump").startswith("/left/image_raw: stamps went back by 79.0 s")
    assert dog.health.issues()["", "jump"].count == 2
