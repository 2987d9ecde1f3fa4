# SPDX-License-Identifier: Apache-2.0
"""The lifecycle of the node while an engine is at a set, and where a transition fails."""

from needs import needs

needs("rclpy")

import threading

from fake_estimator import FakeEstimator
from node_bench import IMAGE, WARN, feed_until, status_matches
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from da3_ros.node import session

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
DEPTH = "/da3/left/depth/image_rect"


class Gated(FakeEstimator):
    """Waits for a gate in each estimate, and sees whether it is alone, among all of its kind."""

    gate, lock = threading.Event(), threading.Lock()
    at_once = most_at_once = closed = 0

    def close(self):
        type(self).closed += 1

    def __call__(self, view_set, *, odometry=False):
        kind = type(self)
        with kind.lock:
            kind.at_once += 1
            kind.most_at_once = max(kind.most_at_once, kind.at_once)
        try:
            assert kind.gate.wait(60)
            return super().__call__(view_set, odometry=odometry)
        finally:
            with kind.lock:
                kind.at_once -= 1


def gated():
    """A kind of its own for each test."""
    return type("GatedHere", (Gated,), {"gate": threading.Event(), "lock": threading.Lock()})


def test_a_node_that_is_activated_anew_waits_for_the_engine(bench):
    kind = gated()
    b = bench(estimator=kind).start()
    b.peer.collect(DEPTH, IMAGE)
    b.connect()
    feed_until(b, lambda: kind.at_once)
    for _ in range(3):
        assert b.node.trigger_deactivate() == SUCCESS
        assert b.node.trigger_activate() == SUCCESS
    b.connect()
    seen = b.peer.now_ns()
    for _ in range(5):
        b.send(b.peer.now_ns())
    assert len(b.threads()) == 2
    kind.gate.set()
    feed_until(b, lambda: len(b.peer.received[DEPTH]) > 2)
    assert kind.most_at_once == 1
    # What the engine was at when the node was deactivated is not sent any more.
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in b.peer.received[DEPTH]]
    assert min(stamps) > seen
    counts = b.node._session._buffer.counters.snapshot()["left"]
    assert counts.dropped["reset"] >= 1
    assert counts.waiting >= 0


def test_a_node_that_is_configured_anew_waits_for_the_old_engine(bench, monkeypatch):
    from da3_ros.node import multi_cam

    monkeypatch.setattr(multi_cam, "BUSY_S", 0.1)
    kind = gated()
    b = bench(estimator=kind).start()
    b.peer.collect(DEPTH, IMAGE)
    b.connect()
    feed_until(b, lambda: kind.at_once)
    assert b.node.trigger_deactivate() == SUCCESS
    assert b.node.trigger_cleanup() == SUCCESS
    assert not b.node.close(0.0)
    assert b.node.trigger_configure() == SUCCESS
    assert b.node.trigger_activate() == SUCCESS
    b.connect()
    feed_until(b, lambda: status_matches(b, "pipeline", WARN, ["waits for an engine", "cleaned up"]))
    assert len(b.threads()) == 4
    assert b.peer.received[DEPTH] == []
    assert kind.closed == 0
    kind.gate.set()
    feed_until(b, lambda: b.peer.received[DEPTH])
    assert kind.most_at_once == 1
    assert len(b.estimators) == 2
    assert len(b.threads()) == 2
    assert kind.closed == 1
    assert b.node.trigger_deactivate() == SUCCESS
    assert b.node.trigger_cleanup() == SUCCESS
    assert kind.closed == 2


def test_what_was_learnt_before_a_deactivation_is_forgotten(bench):
    b = bench(sync__window=1).start()
    b.peer.collect(DEPTH, IMAGE)
    b.connect()
    feed_until(b, lambda: any(len(view_set.views) == 4 for view_set in b.estimator.sets))
    resets = b.estimator.resets
    assert b.node.trigger_deactivate() == SUCCESS
    assert b.node.trigger_activate() == SUCCESS
    b.connect()
    before = len(b.estimator.sets)
    feed_until(b, lambda: len(b.estimator.sets) > before + 1)
    assert b.estimator.resets == resets + 1
    assert [len(view_set.views) for view_set in b.estimator.sets[before : before + 2]] == [2, 4]


def test_a_set_from_before_a_jump_back_is_not_seen_beside_those_after_it(bench):
    """One waits in the mailbox when stamps go back by 30 s."""
    kind = gated()
    b = bench(sync__window=1, estimator=kind).start()
    b.peer.collect(DEPTH, IMAGE)
    b.connect()
    feed_until(b, lambda: kind.at_once)
    begin = b.peer.now_ns()
    b.send(begin)
    counters = b.node._session._buffer.counters
    received = counters.snapshot()["left"].received
    b.peer.wait(lambda: b.send(b.peer.now_ns()) or counters.snapshot()["left"].received > received + 1)
    back = 30 * 10**9
    b.send(begin - back)
    b.peer.wait(lambda: counters.snapshot()["left"].dropped.get("reset", 0) >= 1, what="a reset")
    kind.gate.set()
    feed_until(b, lambda: len(b.estimator.sets) > 4, send=lambda now: b.send(now - back))
    later = [s.views for s in b.estimator.sets if s.views[0].stamp_ns < begin - back // 2]
    assert len(later) > 2
    assert all(view.stamp_ns < begin - back // 2 for views in later for view in views)
    assert [len(views) for views in later[:2]] == [2, 4]


def test_a_topic_that_cannot_be_subscribed_to_fails_the_activation_alone(bench, capfd):
    b = bench(left__image_topic="not a topic")
    assert b.node.trigger_configure() == SUCCESS
    timers, subscriptions = len(list(b.node.timers)), len(list(b.node.subscriptions))
    for _ in range(3):
        assert b.node.trigger_activate() == FAILURE
        assert (len(list(b.node.timers)), len(list(b.node.subscriptions))) == (timers, subscriptions)
    said = capfd.readouterr().err
    assert said.count("cannot activate: ") == 3
    assert "not a topic" in said
    assert len(b.threads()) <= 2
    assert b.node.trigger_cleanup() == SUCCESS
    assert b.threads() == []
    assert b.node.set_parameters([Parameter("left.image_topic", value="/left/image_raw")])[0].successful
    b.start()
    b.peer.collect(DEPTH, IMAGE)
    b.connect()
    feed_until(b, lambda: b.peer.received[DEPTH])


def test_a_session_that_cannot_be_built_leaves_nothing_behind(bench, monkeypatch, capfd):
    def broken(*arguments, **options):
        raise OSError("no room for publishers")

    kind = gated()
    b = bench(estimator=kind)
    entities = [len(list(kind)) for kind in (b.node.publishers, b.node.subscriptions, b.node.timers)]
    with monkeypatch.context() as patch:
        patch.setattr(session, "Watchdog", broken)
        assert b.node.trigger_configure() == FAILURE
        assert b.node.trigger_configure() == FAILURE
    assert kind.closed == 2
    assert capfd.readouterr().err.count("cannot configure: OSError: no room for publishers") == 2
    assert [len(list(kind)) for kind in (b.node.publishers, b.node.subscriptions, b.node.timers)] == entities
    assert b.node.set_parameters([Parameter("cameras", value=["left"])])[0].successful  # nothing is configured
    assert b.node.trigger_configure() == SUCCESS


def test_a_deactivation_that_fails_ends_in_a_node_that_can_be_configured(bench, monkeypatch):
    b = bench()
    assert b.node.trigger_configure() == SUCCESS
    assert b.node.trigger_activate() == SUCCESS
    watchdog = b.node._session._watchdog

    def once():
        monkeypatch.undo()
        watchdog.stop()
        raise OSError("gone")

    monkeypatch.setattr(watchdog, "stop", once)
    assert b.node.trigger_deactivate() == TransitionCallbackReturn.ERROR
    assert b.node.trigger_configure() == SUCCESS
    assert b.node.trigger_activate() == SUCCESS
    assert len(b.threads()) == 2


def test_the_keeping_time_of_issues_follows_the_period_of_reports(bench):
    """Or one that was seen once would be forgotten before the next report."""
    b = bench(diagnostics__period=1.0)
    assert b.node.trigger_configure() == SUCCESS
    health = b.node._session._health
    assert health.keep_s == 5.0
    assert b.node.set_parameters([Parameter("diagnostics.period", value=10.0)])[0].successful
    assert health.keep_s == 30.0
