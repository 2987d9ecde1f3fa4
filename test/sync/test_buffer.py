# SPDX-License-Identifier: Apache-2.0
import itertools
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from da3_ros.sync import POLICIES, FrameBuffer, SyncConfig

MS = 1_000_000


def make(cameras="ab", **changes):
    changes = {name: value * MS if name.endswith("_ns") else value for name, value in changes.items()}
    return FrameBuffer(list(cameras), SyncConfig(**changes))


def feed(buffer, *frames):
    """Push (camera, milliseconds) pairs; returns the sets as {camera: milliseconds}."""
    sets = []
    for camera, stamp in frames:
        found = buffer.push(camera, stamp * MS, f"{camera}{stamp}")
        if found:
            assert all(f.payload == f"{f.camera}{f.stamp_ns // MS}" for f in found.frames)
            sets.append({f.camera: f.stamp_ns // MS for f in found.frames})
    return sets


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
    assert found.skew_ns == 6 * MS
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


events = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 400),
        st.sampled_from(["push", "push", "push", "push", "exclude", "reset"]),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(events, st.sampled_from(POLICIES), st.booleans(), st.integers(1, 4), st.integers(0, 40))
def test_invariants(sequence, policy, allow_missing, capacity, skew):
    """Whatever comes: counts add up, memory is bounded, sets go forward in time and keep their promises."""
    buffer = make("abc", policy=policy, allow_missing=allow_missing, capacity=capacity, max_skew_ns=skew, jump_ns=200)
    last = {}
    used = set()
    epoch = 0
    for index, (camera, stamp, action) in enumerate(sequence):
        resets = sum(c.dropped.get("reset", 0) for c in buffer.counters.snapshot().values())
        before = dict(buffer._newest)
        if action == "exclude":
            found = buffer.exclude(camera)
        elif action == "reset":
            found = buffer.reset()
            last, epoch = {}, epoch + 1
        else:
            if camera in before and before[camera] - stamp * MS > 200 * MS:
                last, epoch = {}, epoch + 1
            found = buffer.push(camera, stamp * MS, index)
        if found is not None:
            cameras = [frame.camera for frame in found.frames]
            assert cameras == sorted(set(cameras))
            assert set(cameras) | set(found.missing) == set("abc")
            if not allow_missing:
                assert set(found.missing) <= buffer.excluded
            if policy == "exact":
                assert found.skew_ns == 0
            elif policy == "approximate":
                assert found.skew_ns <= skew * MS
            elif policy == "anchor":
                assert all(abs(frame.stamp_ns - found.stamp_ns) <= skew * MS for frame in found.frames)
            for frame in found.frames:
                assert frame.stamp_ns >= last.get(frame.camera, -1)
                if policy != "latest":
                    assert (epoch, frame.payload) not in used
                    assert frame.stamp_ns > last.get(frame.camera, -1)
                used.add((epoch, frame.payload))
                last[frame.camera] = frame.stamp_ns
        for name, counts in buffer.counters.snapshot().items():
            queue = buffer._queues[name]
            assert len(queue) <= capacity
            held = [f for f in queue if (name, f.stamp_ns) not in buffer._given]
            assert counts.waiting == len(held)
        assert resets <= sum(c.dropped.get("reset", 0) for c in buffer.counters.snapshot().values())


class Exhaustive:
    """The policies once more, by trying every combination of the frames that wait. Milliseconds."""

    def __init__(self, policy, skew):
        self.policy, self.skew = policy, skew
        self.waiting = {camera: [] for camera in "abc"}
        self.passed = dict.fromkeys("abc", -1)
        self.seen = {camera: [] for camera in "abc"}  # rising stamps

    def settled(self, camera, stamp, pivot):
        newest = self.seen[camera]
        return newest[-1] >= pivot or len(newest) < 2 or 2 * (pivot - stamp) <= newest[-1] - newest[-2]

    def fits(self, stamps, pivot):
        if self.policy == "exact":
            return len(set(stamps.values())) == 1
        if self.policy == "approximate":
            return max(stamps.values()) - min(stamps.values()) <= self.skew
        return all(
            abs(stamp - pivot) <= self.skew
            and abs(stamp - pivot) == min(abs(other - pivot) for other in self.waiting[camera])
            and self.settled(camera, stamp, pivot)
            for camera, stamp in stamps.items()
            if camera != "a"
        )

    def push(self, camera, stamp):
        if stamp <= self.passed[camera] or stamp in self.waiting[camera]:
            return None
        self.waiting[camera].append(stamp)
        if not self.seen[camera] or stamp > self.seen[camera][-1]:
            self.seen[camera].append(stamp)
        trigger = "a" if self.policy == "anchor" else camera
        groups = [dict(zip("abc", stamps, strict=True)) for stamps in itertools.product(*self.waiting.values())]
        groups = [group for group in groups if self.fits(group, group[trigger])]
        if not groups:
            return None
        newest = max(group[trigger] for group in groups)
        best = min(sum(abs(stamp - newest) for stamp in group.values()) for group in groups if group[trigger] == newest)
        chosen = [
            group
            for group in groups
            if group[trigger] == newest and sum(abs(stamp - newest) for stamp in group.values()) == best
        ]
        return chosen

    def take(self, group):
        for camera, stamp in group.items():
            self.waiting[camera] = [other for other in self.waiting[camera] if other > stamp]
            self.passed[camera] = stamp


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.integers(-3, 3)), max_size=40),
    st.sampled_from(["anchor", "exact", "approximate"]),
    st.integers(0, 6),
)
@example([("b", 0, 2), ("b", 1, 3), ("c", 1, 3), ("a", 1, 0)], "approximate", 4)
def test_the_sets_are_those_of_an_exhaustive_search(arrivals, policy, skew):
    """Frames of three cameras in any order, late and repeated ones among them: the same sets at the same moments."""
    buffer = make("abc", policy=policy, max_skew_ns=skew, capacity=100)
    reference = Exhaustive(policy, 0 if policy == "exact" else skew)
    for camera, index, jitter in arrivals:
        stamp = 20 + 4 * index + jitter
        found = buffer.push(camera, stamp * MS, None)
        expected = reference.push(camera, stamp)
        assert (found is None) == (expected is None)
        if found is not None:
            group = {frame.camera: frame.stamp_ns // MS for frame in found.frames}
            assert group in expected  # several are equally close
            reference.take(group)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=12, max_size=12), st.randoms())
def test_regular_cameras_lose_nothing(jitter, random):
    """Three cameras at 30 Hz with jitter, arriving in any order within each period: every frame is used."""
    buffer = make("abc", max_skew_ns=12)
    sets = 0
    for index, offset in enumerate(jitter):
        order = list("abc")
        random.shuffle(order)
        sets += len(feed(buffer, *((camera, 100 + 33 * index + (offset if camera == "b" else 0)) for camera in order)))
    counts = buffer.counters.snapshot()
    assert sets == len(jitter)
    assert all(c.used == len(jitter) and not c.dropped for c in counts.values())


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
    assert all(frame_set.skew_ns == 0 for frame_set in found)
    for counts in buffer.counters.snapshot().values():
        assert counts.received == 500
        assert counts.used == len(found)
