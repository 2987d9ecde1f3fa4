# SPDX-License-Identifier: Apache-2.0
import threading
import time

import pytest

from da3_ros.sync import Closed, FrameCounters, Mailbox


def test_newest_wins():
    box = Mailbox()
    assert box.put(1) is None
    assert box.put(2) == 1
    assert box.get() == 2
    assert box.get(timeout=0.01) is None


def test_get_waits_for_put():
    box = Mailbox()
    threading.Timer(0.05, box.put, ("x",)).start()
    assert box.get(timeout=2) == "x"


def test_close_wakes_the_waiter_and_returns_what_was_left():
    box = Mailbox()
    seen = []

    def wait():
        try:
            box.get()
        except Closed:
            seen.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    assert box.close() is None
    thread.join(1)
    assert seen
    assert box.put(3) == 3
    with pytest.raises(Closed):
        box.get()


def test_close_gives_back_the_item():
    box = Mailbox()
    box.put("left")
    assert box.close() == "left"


def test_clear():
    box = Mailbox()
    box.put(1)
    assert box.clear() == 1
    assert box.clear() is None
    assert box.get(timeout=0.01) is None


def test_counters_add_up():
    counters = FrameCounters(["a"])
    for _ in range(5):
        counters.receive("a")
    counters.use("a")
    counters.use("a")
    counters.drop("a", "late", 2)
    counters.drop("a", "late", 0)
    counters.revoke("a", "superseded")
    counts = counters.snapshot()["a"]
    assert (counts.received, counts.used, counts.dropped) == (5, 1, {"late": 2, "superseded": 1})
    assert counts.waiting == 1
