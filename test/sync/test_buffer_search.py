# SPDX-License-Identifier: Apache-2.0
"""The frame buffer over random arrivals: what always holds, and the sets of an exhaustive search."""

from needs import needs

needs("hypothesis")

import itertools

from frame_sets import MS, feed, make, skew
from hypothesis import example, given, settings
from hypothesis import strategies as st

from da3_ros.sync import POLICIES

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
def test_invariants(sequence, policy, allow_missing, capacity, widest):
    """Whatever comes: counts add up, memory is bounded, sets go forward in time and keep their promises."""
    buffer = make("abc", policy=policy, allow_missing=allow_missing, capacity=capacity, max_skew_ns=widest, jump_ns=200)
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
            assert found.epoch == epoch
            if not allow_missing:
                assert set(found.missing) <= buffer.excluded
            if policy == "exact":
                assert skew(found) == 0
            elif policy == "approximate":
                assert skew(found) <= widest * MS
            elif policy == "anchor":
                assert all(abs(frame.stamp_ns - found.stamp_ns) <= widest * MS for frame in found.frames)
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
