# SPDX-License-Identifier: Apache-2.0
"""What each process does with each set, beside rules that are written down here once more, the plainest way."""

from needs import needs

needs("rosbags")

import itertools
from types import SimpleNamespace

import pytest

from da3_ros.bag.line.intake import Job
from da3_ros.bag.line.orders import AheadReach, Order, Orders
from da3_ros.bag.plan.options import Options

SETS = 23


def jobs(sets=SETS, resets=(), between=False):
    """A job for each set, at 10 ns each; between: also one without a set before each, and one at the end."""
    for index in range(sets):
        if between:
            yield Job(index=index)
        yield Job(index=index, frames=SimpleNamespace(stamp_ns=10 * index), reset=index in resets)
    if between:
        yield Job(index=sets)


def orders(options, finished=(), rank=0, ahead=0, spacing=0, **what):
    return list(Orders(options, finished, rank, AheadReach(ahead, spacing))(jobs(**what)))


def by_the_rules(options, finished, rank, index):
    """The order of a set, from its number alone."""
    size, count = options.segment_sets, options.processes
    segment, place = divmod(index, size)

    def ours(number):
        return number not in finished and number % count == rank

    warm = range((segment + 1) * size - min(options.warm_up, size), (segment + 1) * size)
    if not ours(segment):
        if count > 1 and ours(segment + 1) and index in warm:
            return Order(write=False, estimate=True, fresh=index == warm[0])
        return Order(write=False, estimate=False)
    is_first = place == 0 and segment > 0
    was_warmed_up = count > 1 and options.warm_up > 0
    return Order(
        write=True,
        estimate=True,
        recall=segment - 1 if is_first and count == 1 and segment - 1 in finished else None,
        fresh=is_first and count > 1 and not was_warmed_up,
        last=place == size - 1,
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(("processes", "warm_up"), [(1, 5), (2, 0), (2, 1), (2, 3), (3, 2), (3, 9)])
def test_every_set_has_its_order(size, processes, warm_up):
    options = Options(segment_sets=size, processes=processes, warm_up=warm_up)
    for finished, rank in itertools.product([(), (0,), (0, 1), (1,), (0, 2, 3)], range(processes)):
        found = orders(options, finished, rank)
        assert [order for _, order in found] == [by_the_rules(options, finished, rank, i) for i in range(SETS)]
        assert [job.index for job, _ in found] == list(range(SETS))


@pytest.mark.parametrize("processes", [1, 2])
def test_every_set_is_written_once(processes):
    options = Options(segment_sets=4, processes=processes, warm_up=2)
    written = [job.index for rank in range(processes) for job, order in orders(options, (), rank) if order.write]
    assert sorted(written) == list(range(SETS))


def test_what_lies_between_sets_goes_with_the_next_one_and_changes_nothing():
    options = Options(segment_sets=3, processes=2, warm_up=2)
    found = orders(options, (0,), 1, between=True)
    assert [order for job, order in found if job.frames] == [order for _, order in orders(options, (0,), 1)]
    plain = Order(write=True, estimate=True)
    for job, order in found:
        if not job.frames:
            assert order == (plain if (job.index // 3) % 2 == 1 else Order(write=False, estimate=False)), job.index
    found = orders(Options(segment_sets=3), (0,), between=True)
    assert [(job.index, order.recall) for job, order in found if order.recall is not None] == [(3, 0)]
    assert [job.index for job, order in found if order.last] == [5, 8, 11, 14, 17, 20]


@pytest.mark.parametrize(("count", "spacing"), [(0, 0), (1, 0), (2, 0), (2, 25), (3, 10)])
def test_sets_that_one_before_them_is_seen_with_are_looked_at(count, spacing):
    """Of segments that are finished, or another process's: by going through the later sets of each."""
    options = Options(segment_sets=4, processes=2, warm_up=1)
    found = orders(options, (), 0, ahead=count, spacing=spacing, resets=(13,))
    needed = set()
    for job, order in found:
        if not order.estimate:
            continue
        last, missing = job.index, count
        for later in range(job.index + 1, SETS):
            if later == 13 or not missing:
                break
            needed.add(later)
            if 10 * (later - last) >= spacing:
                last, missing = later, missing - 1
    for job, order in found:
        if not order.estimate:
            assert order == Order(write=False, estimate=False, see=job.index in needed), job.index
        else:
            assert order.see is False
