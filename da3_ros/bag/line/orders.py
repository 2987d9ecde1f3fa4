# SPDX-License-Identifier: Apache-2.0
"""What a process does with each job of a recording: write it, learn from it, look at it, or pass it over."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from da3_ros.bag.line.intake import Job
from da3_ros.bag.plan.options import Options


@dataclass(frozen=True)
class Order:
    """What to do with a job."""

    write: bool
    estimate: bool
    see: bool = False
    """Whether a set that is not estimated is looked at all the same: one before it is seen together with it."""
    recall: int | None = None
    """Segment after which to go on."""
    fresh: bool = False
    """Begin as after a jump in time."""
    last: bool = False
    """The segment ends with this set: what the pipeline remembers is kept."""


class AheadReach:
    """Tells which sets must be looked at because one before them is estimated: what `Ahead` does, by stamps alone."""

    def __init__(self, count: int, spacing_ns: int) -> None:
        self._count, self._spacing = count, spacing_ns
        self._missing = self._last_ns = 0

    def push(self, stamp_ns: int, *, estimated: bool, reset: bool) -> bool:
        """The next set; whether one before it is seen together with it. Later sets of the last one that is estimated
        reach farthest.
        """
        if reset:
            self._missing = 0
        needed = self._missing > 0
        if needed and stamp_ns - self._last_ns >= self._spacing:
            self._missing, self._last_ns = self._missing - 1, stamp_ns
        if estimated:
            self._missing, self._last_ns = self._count, stamp_ns
        return needed


class Orders:
    """Gives the orders of one process: all segments that are not finished, or every n-th."""

    def __init__(self, options: Options, finished: Collection[int], rank: int, ahead: AheadReach) -> None:
        self._options, self._finished, self._rank, self._ahead = options, frozenset(finished), rank, ahead
        self._before: int | None = None
        """Segment of the last set that was estimated and written."""
        self._begun = False
        """Whether sets to warm up were estimated since."""

    def __call__(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Order]]:
        """Each job with its order."""
        for job in jobs:
            order = self._order(job)
            if job.frames is not None:
                needed = self._ahead.push(job.frames.stamp_ns, estimated=order.estimate, reset=job.reset)
                if needed and not order.estimate:
                    order = Order(write=False, estimate=False, see=True)
            yield job, order

    def _order(self, job: Job) -> Order:
        size, alone = self._options.segment_sets, self._options.processes == 1
        number, is_set = job.index // size, job.frames is not None
        if not self._is_ours(number):
            if not self._warms_up(job, number):
                return Order(write=False, estimate=False)
            order = Order(write=False, estimate=True, fresh=not self._begun)
            self._begun = True
            return order
        begins = is_set and number > 0 and job.index % size == 0
        # What another process does, or did, before this segment is known where it was kept, or by the sets to warm up.
        recall = number - 1 if begins and alone and self._before != number - 1 else None
        fresh = begins and not alone and not self._begun
        if is_set:
            self._before, self._begun = number, False
        return Order(
            write=True, estimate=True, recall=recall, fresh=fresh, last=is_set and job.index % size == size - 1
        )

    def _warms_up(self, job: Job, number: int) -> bool:
        if self._options.processes == 1 or not self._is_ours(number + 1) or job.frames is None:
            return False
        return job.index >= (number + 1) * self._options.segment_sets - self._options.warm_up

    def _is_ours(self, number: int) -> bool:
        return number not in self._finished and number % self._options.processes == self._rank
