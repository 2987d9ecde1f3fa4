# SPDX-License-Identifier: Apache-2.0
import threading

import pytest
from frame_sets import MS, feed, make, skew

from da3_ros.sync import POLICIES, SyncConfig


def dropped(buffer, camera):
    return buffer.counters.snapshot()[camera].dropped


def test_one_camera_needs_no_partner():
    assert feed(make("a"), ("a", 1), ("a", 2)) == [{"a": 1}, {"a": 2}]


def test_anchor_takes_the_closest_frame():
    buffer = make(max_skew_ns=20)
    assert feed(buffer, ("b", 90), ("b", 103), ("b", 118), ("a", 100)) == [{"a": 100, "b": 103}]
    assert dropped(buffer, "b") == {"unmatched": 1}


def test_anchor_waits_for_a_closer_frame_only_when_one_is_due():
    buffer = make(max_skew_ns=20)
    feed(buffer, ("b", 0), ("a", 0), ("b", 33), ("a", 33))
    # 20 ms old with a period of 33 ms: the next frame comes 13 ms after the anchor.
    assert feed(buffer, ("b", 66), ("a", 86)) == []
    assert feed(buffer, ("b", 99)) == [{"a": 86, "b": 99}]
    # 1 ms old: nothing closer can come, so it does not wait.
    assert feed(buffer, ("b", 132), ("a", 133)) == [{"a": 133, "b": 132}]


def test_anchor_out_of_reach():
    buffer = make(max_skew_ns=10)
    assert feed(buffer, ("a", 100), ("b", 130), ("a", 200), ("b", 195)) == [{"a": 200, "b": 195}]
    assert dropped(buffer, "a") == {"unmatched": 1}
    assert dropped(buffer, "b") == {"unmatched": 1}


def test_newest_complete_set_wins():
    buffer = make("abc", max_skew_ns=5)
    feed(buffer, ("a", 0), ("a", 33), ("a", 66), ("b", 0), ("b", 33), ("b", 66))
    assert feed(buffer, ("c", 66)) == [{"a": 66, "b": 66, "c": 66}]
    assert dropped(buffer, "a") == {"unmatched": 2}
    assert feed(buffer, ("c", 33)) == []
    assert dropped(buffer, "c") == {"late": 1}


def test_set_keeps_the_configured_order_and_its_skew():
    buffer = make("abc", max_skew_ns=20)
    buffer.push("c", 101 * MS, 0)
    buffer.push("a", 100 * MS, 0)
    found = buffer.push("b", 95 * MS, 0)
    assert [frame.camera for frame in found.frames] == ["a", "b", "c"]
    assert found.stamp_ns == 100 * MS
    assert skew(found) == 6 * MS
    assert found.missing == ()


def test_exact_wants_equal_stamps():
    buffer = make(policy="exact")
    assert feed(buffer, ("a", 1), ("b", 2), ("b", 3), ("a", 3)) == [{"a": 3, "b": 3}]
    assert dropped(buffer, "a") == dropped(buffer, "b") == {"unmatched": 1}


def test_approximate_bounds_the_spread_of_all():
    buffer = make("abc", policy="approximate", max_skew_ns=10)
    # b and c lie within 10 ms of a, but 16 ms apart.
    assert feed(buffer, ("b", 92), ("c", 108), ("a", 100)) == []
    assert feed(buffer, ("b", 101)) == [{"a": 100, "b": 101, "c": 108}]


def test_approximate_passes_the_closest_frame_by_where_another_one_fits_all():
    buffer = make("abc", policy="approximate", max_skew_ns=10)
    assert feed(buffer, ("b", 92), ("b", 109), ("c", 109), ("a", 100)) == [{"a": 100, "b": 109, "c": 109}]


def test_latest_takes_frames_of_any_age_again():
    buffer = make(policy="latest")
    assert feed(buffer, ("a", 100)) == []
    assert feed(buffer, ("b", 20), ("a", 133), ("a", 166)) == [{"a": 133, "b": 20}, {"a": 166, "b": 20}]
    assert feed(buffer, ("b", 170), ("b", 190), ("a", 200)) == [{"a": 200, "b": 190}]
    counts = buffer.counters.snapshot()
    assert (counts["b"].used, counts["b"].dropped) == (2, {"superseded": 1})
    assert (counts["a"].used, counts["a"].dropped) == (3, {"superseded": 1})


def test_missing_cameras_are_left_out_when_the_trigger_comes_again():
    buffer = make("abc", allow_missing=True, max_skew_ns=10)
    assert feed(buffer, ("a", 0), ("b", 1)) == []
    assert feed(buffer, ("a", 33)) == [{"a": 0, "b": 1}]
    assert feed(buffer, ("c", 2)) == []
    assert feed(buffer, ("b", 34), ("c", 35)) == [{"a": 33, "b": 34, "c": 35}]


def test_missing_is_named():
    buffer = make("abc", allow_missing=True)
    buffer.push("a", 0, 0)
    assert buffer.push("a", 33 * MS, 0).missing == ("b", "c")


def test_without_the_anchor_nothing_comes_until_it_is_excluded():
    buffer = make("abc", max_skew_ns=10)
    assert feed(buffer, ("b", 0), ("c", 1), ("b", 33), ("c", 34)) == []
    found = buffer.exclude("a")
    assert [(f.camera, f.stamp_ns // MS) for f in found.frames] == [("b", 33), ("c", 34)]
    assert found.missing == ("a",)
    assert feed(buffer, ("b", 66), ("c", 67)) == [{"b": 66, "c": 67}]
    assert buffer.excluded == {"a"}
    # It takes part again by sending.
    assert feed(buffer, ("a", 100), ("b", 100), ("c", 101)) == [{"a": 100, "b": 100, "c": 101}]
    assert buffer.excluded == set()


@pytest.mark.parametrize("policy", POLICIES)
def test_all_cameras_excluded(policy):
    buffer = make(policy=policy)
    feed(buffer, ("a", 1))
    assert buffer.exclude("b") is not None or policy == "latest"
    assert buffer.exclude("a") is None


def test_every_camera_is_waited_for_again():
    buffer = make()
    buffer.exclude("b")
    buffer.include_all()
    assert buffer.excluded == set()
    assert feed(buffer, ("a", 1)) == []


def test_overflow_is_counted_and_bounds_memory():
    buffer = make(capacity=3)
    feed(buffer, *(("b", stamp) for stamp in range(10)))
    assert dropped(buffer, "b") == {"overflow": 7}
    assert feed(buffer, ("a", 8)) == [{"a": 8, "b": 8}]


def test_a_frame_that_comes_late_into_a_full_queue_is_the_one_that_goes():
    buffer = make("abc", policy="exact", capacity=1)
    assert feed(buffer, ("a", 1), ("b", 0), ("c", 0), ("a", 0)) == []
    assert dropped(buffer, "a") == {"overflow": 1}
    assert feed(buffer, ("b", 1), ("c", 1)) == [{"a": 1, "b": 1, "c": 1}]


def test_late_and_repeated_frames():
    buffer = make()
    feed(buffer, ("a", 100), ("b", 100))
    assert feed(buffer, ("a", 99), ("b", 100), ("a", 120), ("a", 120)) == []
    assert dropped(buffer, "a") == {"late": 2}
    assert dropped(buffer, "b") == {"late": 1}


def test_slightly_out_of_order_frames_are_still_used():
    buffer = make(max_skew_ns=5)
    assert feed(buffer, ("a", 133), ("a", 100), ("b", 100)) == [{"a": 100, "b": 100}]


def test_a_looped_bag_starts_again():
    """Upstream's synchroniser keeps the old frames after a jump back and stops for ever."""
    buffer = make(max_skew_ns=5, capacity=5)
    stamps = range(0, 3000, 33)
    first = feed(buffer, *((camera, stamp) for stamp in stamps for camera in "ab"))
    # One camera stops earlier than the other, so that unmatched frames fill the other's queue.
    feed(buffer, *(("a", stamp) for stamp in range(3000, 3200, 33)))
    second = feed(buffer, *((camera, stamp) for stamp in stamps for camera in "ab"))
    assert len(first) == len(second) == len(stamps)
    assert dropped(buffer, "a")["reset"] > 0


def test_explicit_reset():
    buffer = make()
    feed(buffer, ("a", 5000))
    buffer.reset()
    assert feed(buffer, ("b", 10), ("a", 10)) == [{"a": 10, "b": 10}]
    assert dropped(buffer, "a") == {"reset": 1}


def test_bad_arguments():
    with pytest.raises(ValueError, match="'nearest' is unknown; choose one of anchor, exact"):
        SyncConfig(policy="nearest")
    with pytest.raises(ValueError, match="max_skew_ns = -1"):
        SyncConfig(max_skew_ns=-1)
    with pytest.raises(ValueError, match="only once"):
        make("aa")
    with pytest.raises(ValueError, match="at least one"):
        make("")
    with pytest.raises(KeyError):
        make().push("x", 0, None)
    with pytest.raises(KeyError):
        make().exclude("x")


def test_many_threads():
    buffer = make("ab", max_skew_ns=0, capacity=1000)
    found = []

    def run(camera):
        for stamp in range(500):
            result = buffer.push(camera, stamp, stamp)
            if result:
                found.append(result)

    threads = [threading.Thread(target=run, args=(camera,)) for camera in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found
    assert all(skew(frame_set) == 0 for frame_set in found)
    for counts in buffer.counters.snapshot().values():
        assert counts.received == 500
        assert counts.used == len(found)
