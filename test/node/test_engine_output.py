# SPDX-License-Identifier: Apache-2.0
"""The node tells of an engine whose answer cannot be used, in part or as a whole, and goes on."""

from needs import needs

needs("rclpy")

from node_bench import ERROR, IMAGE, RIG, feed_until, status_matches

from da3_ros.engines import EngineError
from da3_ros.estimation import EngineFault


def test_what_the_engine_says_that_cannot_be_is_a_status(bench):
    b = bench(watchdog__timeout=30.0).start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.place(RIG)
    b.connect()
    feed_until(b, lambda: b.peer.received["/da3/left/depth/image_rect"], what="depth")
    b.estimator.faults = (EngineFault(1, "right", 0.02, "2 % of its pixels are bad"),)
    feed_until(b, lambda: status_matches(b, "right", ERROR, ["2 % of its pixels are bad"]), what="the share")
    assert b.peer.diagnostics()["left"][0] != ERROR
    b.estimator.fail = EngineError("the engine's answer cannot be used: 30 % of its pixels")
    words = ["estimation failed", "30 % of its pixels"]
    feed_until(b, lambda: status_matches(b, "pipeline", ERROR, words), what="that sets are refused")
    b.estimator.fail = None
    count = len(b.peer.received["/da3/left/depth/image_rect"])
    feed_until(b, lambda: len(b.peer.received["/da3/left/depth/image_rect"]) > count + 2, what="depth again")
