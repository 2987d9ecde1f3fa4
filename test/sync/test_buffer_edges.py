# SPDX-License-Identifier: Apache-2.0
"""The frame buffer at its bounds: to the nanosecond, at the end of a recording, and when it is told otherwise."""

import pytest
from frame_sets import MS, feed, make

from da3_ros.sync import FrameBuffer, FrameCounters, SyncConfig


def raw(cameras="ab", **changes):
    """A buffer that is told everything in nanoseconds."""
    return FrameBuffer(list(cameras), SyncConfig(**changes))


def push(buffer, *frames):
    """Push (camera, ns) pairs; returns the sets as {camera: ns}."""
    found = [buffer.push(camera, stamp, None) for camera, stamp in frames]
    return [{f.camera: f.stamp_ns for f in each.frames} for each in found if each]


def as_ms(sets):
    return [{f.camera: f.stamp_ns // MS for f in each.frames} for each in sets]


def dropped(buffer, camera):
    return buffer.counters.snapshot()[camera].dropped


@pytest.mark.parametrize("policy", ["anchor", "approximate", "exact"])
def test_the_skew_is_kept_to_the_nanosecond(policy):
    skew = 0 if policy == "exact" else 7
    for apart, fits in ((skew, True), (skew + 1, False), (-skew, True), (-skew - 1, False)):
        buffer = raw(policy=policy, max_skew_ns=7)
        assert bool(push(buffer, ("b", 100 + apart), ("a", 100))) is fits, apart


@pytest.mark.parametrize("policy", ["anchor", "approximate", "exact"])
def test_of_a_camera_that_was_left_out_frames_too_old_for_any_later_set_are_late(policy):
    skew = 0 if policy == "exact" else 7
    buffer = raw(policy=policy, max_skew_ns=7, allow_missing=True)
    assert push(buffer, ("a", 100), ("a", 200)) == [{"a": 100}]
    push(buffer, ("b", 100 - skew - 1))
    assert dropped(buffer, "b") == {"late": 1}
    push(buffer, ("b", 100 - skew))
    assert dropped(buffer, "b") == {"late": 1}
    assert push(buffer, ("b", 200)) == [{"a": 200, "b": 200}]
    assert dropped(buffer, "b") == {"late": 1, "unmatched": 1}


def test_approximate_takes_what_is_closest_to_the_trigger_and_of_two_as_close_the_newer():
    closest = raw("ab", policy="approximate", max_skew_ns=8)
    assert push(closest, ("b", 92), ("b", 101), ("a", 100)) == [{"a": 100, "b": 101}]
    before = raw("ab", policy="approximate", max_skew_ns=8)
    assert push(before, ("b", 99), ("b", 108), ("a", 100)) == [{"a": 100, "b": 99}]
    even = raw("ab", policy="approximate", max_skew_ns=8)
    assert push(even, ("b", 95), ("b", 105), ("a", 100)) == [{"a": 100, "b": 105}]


def test_approximate_would_rather_have_all_cameras_than_close_ones():
    buffer = raw("abc", policy="approximate", max_skew_ns=10)
    assert push(buffer, ("b", 91), ("b", 104), ("c", 92), ("a", 100)) == [{"a": 100, "b": 91, "c": 92}]


def test_half_a_period_decides_whether_a_closer_frame_is_waited_for():
    for offset, waits in ((50, False), (51, True)):
        buffer = raw(max_skew_ns=80)
        push(buffer, ("b", 0), ("b", 100))
        assert bool(push(buffer, ("a", 100 + offset))) is not waits


def test_a_change_of_policy_drops_what_waits_and_any_other_does_not():
    buffer = make()
    feed(buffer, ("a", 1), ("a", 30))
    buffer.reconfigure(SyncConfig(max_skew_ns=1))
    assert (buffer.epoch, dropped(buffer, "a")) == (0, {})
    assert push(buffer, ("b", 30 * MS + 2)) == []
    buffer.reconfigure(SyncConfig(policy="exact"))
    assert (buffer.epoch, dropped(buffer, "a"), dropped(buffer, "b")) == (1, {"reset": 2}, {"reset": 1})
    assert feed(buffer, ("b", 30), ("a", 30)) == [{"a": 30, "b": 30}]


def test_frames_of_an_excluded_camera_are_counted_as_unmatched():
    buffer = make("abc")
    feed(buffer, ("b", 1), ("b", 40))
    buffer.exclude("b")
    assert dropped(buffer, "b") == {"unmatched": 2}
    assert buffer.counters.snapshot()["b"].waiting == 0


def test_a_camera_that_nobody_knows():
    buffer = make("ab")
    with pytest.raises(KeyError, match="front"):
        buffer.exclude("front")
    with pytest.raises(KeyError, match="front"):
        buffer.push("front", 1, None)


@pytest.mark.parametrize("policy", ["anchor", "approximate", "exact"])
def test_the_end_of_a_recording_gives_out_what_waited_in_order(policy):
    """Two sets wait: for a closer frame, or for a camera that sends no more."""
    buffer = make("ab", policy=policy, max_skew_ns=0 if policy == "exact" else 30, allow_missing=False)
    feed(buffer, ("b", 0), ("b", 100))
    assert feed(buffer, ("b", 200), ("a", 200)) == [{"a": 200, "b": 200}]
    if policy == "anchor":
        assert feed(buffer, ("b", 210), ("a", 230), ("a", 600)) == []  # a closer one is due at 220
        assert as_ms(buffer.finish()) == [{"a": 230, "b": 210}]
        assert dropped(buffer, "a") == {"unmatched": 1}
    else:
        feed(buffer, ("a", 600))
        assert buffer.finish() == []
        assert dropped(buffer, "a") == {"unmatched": 1}
    assert all(count.waiting == 0 for count in buffer.counters.snapshot().values())


def test_at_the_end_sets_that_lack_cameras_are_given_out_where_that_is_allowed():
    buffer = make("abc", allow_missing=True, max_skew_ns=10)
    assert feed(buffer, ("a", 0), ("b", 1)) == []
    found = buffer.finish()
    assert as_ms(found) == [{"a": 0, "b": 1}]
    assert found[0].missing == ("c",)
    assert buffer.finish() == []
    strict = make("abc", max_skew_ns=10)
    feed(strict, ("a", 0), ("b", 1))
    assert strict.finish() == []
    assert dropped(strict, "a") == dropped(strict, "b") == {"unmatched": 1}


def test_at_the_end_any_camera_triggers_where_the_policy_says_so():
    buffer = make("ab", policy="approximate", allow_missing=True, max_skew_ns=10)
    feed(buffer, ("b", 5))
    assert as_ms(buffer.finish()) == [{"b": 5}]
    anchored = make("ab", allow_missing=True, max_skew_ns=10)
    feed(anchored, ("b", 5))
    assert anchored.finish() == []


def test_at_the_end_excluded_cameras_are_not_wanted():
    buffer = make("abc", max_skew_ns=30)
    feed(buffer, ("b", 0), ("b", 100), ("b", 110))
    buffer.exclude("c")
    assert feed(buffer, ("a", 129)) == []
    assert as_ms(buffer.finish()) == [{"a": 129, "b": 110}]


def test_at_the_end_nothing_is_given_out_twice_by_the_policy_that_gives_newest_frames_again():
    buffer = make("ab", policy="latest", allow_missing=True)
    assert feed(buffer, ("b", 1), ("a", 2)) == [{"a": 2, "b": 1}]
    feed(buffer, ("b", 3))
    assert buffer.finish() == []
    counts = buffer.counters.snapshot()
    assert (counts["a"].used, counts["a"].dropped) == (1, {})
    assert (counts["b"].used, counts["b"].dropped) == (1, {"unmatched": 1})


def test_latest_wants_every_camera_unless_some_may_be_missing():
    strict = make("abc", policy="latest")
    assert feed(strict, ("b", 1), ("a", 2)) == []
    assert feed(strict, ("c", 3), ("a", 4)) == [{"a": 4, "b": 1, "c": 3}]
    loose = make("abc", policy="latest", allow_missing=True)
    found = loose.push("a", 2 * MS, None)
    assert found.missing == ("b", "c")
    assert found.stamp_ns == 2 * MS
    assert loose.counters.snapshot()["a"].used == 1


def test_latest_takes_an_older_frame_of_a_camera_no_more_once_a_newer_was_used():
    buffer = make("ab", policy="latest")
    assert feed(buffer, ("b", 10), ("a", 11)) == [{"a": 11, "b": 10}]
    feed(buffer, ("b", 9))
    assert dropped(buffer, "b") == {"late": 1}
    assert feed(buffer, ("a", 12)) == [{"a": 12, "b": 10}]


def test_a_jump_back_is_one_by_more_than_the_limit():
    for back, epoch in ((1000, 0), (1001, 1)):
        buffer = make("a", jump_ns=1000)
        feed(buffer, ("a", 5000), ("a", 5000 - back))
        assert buffer.epoch == epoch
        assert dropped(buffer, "a") == ({} if epoch else {"late": 1})


def test_the_newest_stamp_of_each_camera_is_told():
    buffer = make("ab")
    feed(buffer, ("a", 30), ("a", 10))
    assert buffer.newest == {"a": 30 * MS}
    buffer.reset()
    assert buffer.newest == {}


def test_counts_may_be_kept_elsewhere():
    counters = FrameCounters(["a", "b"])
    buffer = FrameBuffer(["a", "b"], counters=counters)
    buffer.push("a", 1, None)
    assert counters.snapshot()["a"].received == 1
    assert buffer.config == SyncConfig()


@pytest.mark.parametrize(("name", "lowest"), [("max_skew_ns", 0), ("capacity", 1), ("jump_ns", 1)])
def test_the_least_that_is_allowed_is_allowed(name, lowest):
    assert getattr(SyncConfig(**{name: lowest}), name) == lowest
    with pytest.raises(ValueError, match=f"{name} = {lowest - 1}; it must be at least {lowest}"):
        SyncConfig(**{name: lowest - 1})


def test_cameras_have_names_of_their_own():
    for cameras in ([], ["a", "a"]):
        with pytest.raises(ValueError, match="at least one name, and each only once"):
            FrameBuffer(cameras)


def test_defaults():
    """As docs/parameters.md and the node have them."""
    config = SyncConfig()
    assert (config.policy, config.max_skew_ns, config.allow_missing) == ("anchor", 20_000_000, False)
    assert (config.capacity, config.jump_ns) == (10, 1_000_000_000)


def test_strays_at_their_bounds():
    day, agreed = 86_400_000_000_000, 10_000_000_000
    for apart, used in ((day, True), (day + 1, False), (-day, True)):
        buffer = raw("a")
        begin = 20_000 * day
        assert bool(push(buffer, ("a", begin), ("a", begin + apart))[1:]) is used
        assert buffer.counters.snapshot()["a"].waiting == (0 if used else 1)
    for apart, believed in ((agreed, True), (-agreed, True), (agreed + 1, False)):
        buffer = raw("a")
        found = push(buffer, ("a", begin), ("a", begin + 9 * day), ("a", begin + 9 * day + apart))
        assert (len(found) == 2) is believed
        assert dropped(buffer, "a") == ({"reset": 1} if believed else {"stamp": 1})


def test_latest_does_not_wait_for_a_camera_that_is_excluded():
    buffer = make("ab", policy="latest")
    feed(buffer, ("b", 1))
    buffer.exclude("b")
    assert feed(buffer, ("a", 2)) == [{"a": 2}]


def test_latest_takes_nothing_older_than_what_was_used_by_a_nanosecond():
    buffer = raw("ab", policy="latest")
    assert push(buffer, ("b", 10), ("a", 11), ("b", 9)) == [{"a": 11, "b": 10}]
    assert dropped(buffer, "b") == {"late": 1}
