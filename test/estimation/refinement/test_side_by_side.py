# SPDX-License-Identifier: Apache-2.0
"""Several views on several cores."""

import threading

import pytest

from da3_ros.estimation.refinement.side_by_side import MOST, side_by_side


def test_answers_come_in_the_order_of_the_questions():
    release = threading.Event()

    def function(number):
        if number == 0:
            release.wait(0.05)  # the first one is the last to be ready
        return number * number

    assert side_by_side(function, range(5)) == [0, 1, 4, 9, 16]
    assert side_by_side(function, []) == []


def test_few_threads_do_it_and_they_are_kept():
    seen = {thread for _ in range(MOST + 1) for thread in side_by_side(lambda _: threading.current_thread(), range(20))}
    assert 1 <= len(seen) <= MOST
    assert threading.current_thread() not in seen


def test_what_goes_wrong_is_told():
    def function(number):
        if number == 2:
            raise ValueError("number 2")
        return number

    with pytest.raises(ValueError, match="number 2"):
        side_by_side(function, range(4))
