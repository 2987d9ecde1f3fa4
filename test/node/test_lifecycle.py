# SPDX-License-Identifier: Apache-2.0
"""The lifecycle of the node and its parameters: what is refused, and what changes while it works."""

from needs import needs

needs("rclpy")

import time

from node_bench import (
    CLOUD,
    IMAGE,
    RIG,
    WARN,
    feed_until,
    status_matches,
)
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from da3_ros.messages import decode_cloud


def test_lifecycle_round(bench):
    b = bench()
    node = b.node
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    result = node.set_parameters([Parameter("input_qos", value="DEFAULT")])[0]
    assert not result.successful
    assert "input_qos" in result.reason
    assert "clean it up" in result.reason
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    assert node.set_parameters([Parameter("max_range", value=20.0)])[0].successful
    refused = node.set_parameters([Parameter("sync.policy", value="nearest")])[0]
    assert not refused.successful
    assert "anchor, exact" in refused.reason
    assert node.set_parameters([Parameter("cameras", value=["front"])])[0].successful
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert b.estimator.config.max_range == 20
    assert node.get_parameter("front.image_topic").value == "/front/image_raw"
    assert node.trigger_shutdown() == TransitionCallbackReturn.SUCCESS


def test_parameters_change_while_the_node_works(bench):
    b = bench(sync__policy="exact").start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.peer.collect("/da3/points", CLOUD)
    b.place(RIG)
    b.connect()
    feed_until(b, lambda: b.peer.received["/da3/points"])
    b.node.set_parameters([Parameter("max_range", value=20.0), Parameter("cloud.max_range", value=2.5)])
    feed_until(b, lambda: b.estimator.config.max_range == 20)
    b.peer.received["/da3/points"].clear()
    feed_until(b, lambda: b.peer.received["/da3/points"])
    assert decode_cloud(b.peer.received["/da3/points"][-1])["x"].max() < 2.71

    # Frames 15 ms apart match only once the policy allows it; nothing has to be started anew.
    def skewed(now):
        b.send(now, ["left"])
        b.send(now + 15_000_000, ["right"])

    for _ in range(10):
        skewed(b.peer.now_ns())
        time.sleep(0.05)
    before = len(b.estimator.sets)
    assert b.node.set_parameters([Parameter("sync.policy", value="anchor")])[0].successful
    feed_until(b, lambda: len(b.estimator.sets) > before + 2, send=skewed)
    refused = b.node.set_parameters([Parameter("max_range", value=0.01)])[0]
    assert not refused.successful
    assert "> 0.05" in refused.reason
    assert b.estimator.config.max_range == 20
    for name, value in (("diagnostics.period", 0.1), ("watchdog.timeout", 0.5)):
        assert b.node.set_parameters([Parameter(name, value=value)])[0].successful
    feed_until(b, lambda: status_matches(b, "left", WARN, ["no image for"]), send=lambda now: None)


def test_configure_fails_with_a_reason(bench, capfd):
    b = bench(sync__policy="nearest")
    assert b.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert b.estimators == []
    assert b.node.set_parameters([Parameter("sync.policy", value="exact")])[0].successful
    assert b.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert "sync.policy = 'nearest' is refused" in capfd.readouterr().err


def test_unknown_parameters_are_named(bench, capfd):
    b = bench(sync__max_skev=0.1, left__image_topik="/x", front__image_topic="/y")
    assert b.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    captured = capfd.readouterr()
    text = captured.err + captured.out
    assert "parameters of front are not used" in text
    assert "front.image_topic is unknown" not in text
    assert "sync.max_skev is unknown and has no effect; did you mean sync.max_skew?" in text
    assert "left.image_topik is unknown" in text


def test_a_live_change_that_the_engine_cannot_serve_is_refused(bench):
    b = bench().start()
    [result] = b.node.set_parameters([Parameter("pose.source", value="rays")])
    assert not result.successful
    assert result.reason == "no rays in this one"
    assert b.node.get_parameter("pose.source").value == "auto"
    [result] = b.node.set_parameters([Parameter("pose.source", value="matches")])
    assert result.successful
