# SPDX-License-Identifier: Apache-2.0
"""What the node says of itself, of transforms that are none, and of quality of service that does not fit."""

from needs import needs

needs("rclpy")

from types import SimpleNamespace

import numpy as np
import pytest
from node_bench import ERROR, OK, WARN, status_matches
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_peer import TYPES

from da3_ros.messages import encode_transform
from da3_ros.node.compat import describe_publishers, given_parameters
from da3_ros.node.session import _log
from da3_ros.stream.transforms import TransformError

SUCCESS = TransitionCallbackReturn.SUCCESS


def test_a_node_that_has_nothing_to_do_says_why(bench):
    b = bench(cameras=["left"], diagnostics__period=0.1).start()
    b.peer.wait(lambda: status_matches(b, "pipeline", OK, ["idle: nobody subscribes to an output"]))
    b.peer.collect("/da3/points", "sensor_msgs/msg/PointCloud2")
    b.peer.wait(lambda: status_matches(b, "pipeline", OK, ["running"]))
    assert b.node.trigger_deactivate() == SUCCESS
    b.peer.wait(lambda: status_matches(b, "pipeline", OK, ["inactive"]))
    values = b.peer.diagnostics()["pipeline"][2]
    assert values["engine"] == "fake"
    assert b.peer.received["/diagnostics"][-1].status[0].name == "multi_cam: pipeline"


def test_each_level_is_logged_as_what_it_is():
    said = []
    logger = SimpleNamespace(
        error=lambda text: said.append(("error", text)),
        warning=lambda text: said.append(("warning", text)),
        info=lambda text: said.append(("info", text)),
    )
    for level in (ERROR, WARN, OK):
        _log(logger, level, str(level))
    assert said == [("error", "2"), ("warning", "1"), ("info", "0")]


def test_a_transform_that_is_none_is_logged_once_and_the_others_hold(bench, capfd):
    b = bench()
    assert b.node.trigger_configure() == SUCCESS
    listener, tree = b.node._session._listener, b.node._session._transforms
    good = encode_transform(TYPES, np.eye(4), TYPES.header(10**9, "base_link"), "left_optical")
    bad = encode_transform(TYPES, np.eye(4), TYPES.header(10**9, "base_link"), "right_optical")
    bad.transform.translation.x = float("nan")
    for _ in range(2):
        listener._on_static(TYPES["tf2_msgs/msg/TFMessage"](transforms=[bad, good]))
    assert capfd.readouterr().err.count("transform base_link -> right_optical is ignored: ") == 1
    np.testing.assert_array_equal(tree.lookup("base_link", "left_optical", 0), np.eye(4))
    moving = encode_transform(TYPES, np.eye(4), TYPES.header(10**9, "odom"), "base_link")
    listener._on_moving(TYPES["tf2_msgs/msg/TFMessage"](transforms=[moving]))
    with pytest.raises(TransformError):  # it moves: known at its time alone
        tree.lookup("odom", "base_link", 0)
    assert tree.lookup("odom", "base_link", 10**9) is not None


@pytest.mark.parametrize("profile", ["SENSOR_DATA", "DEFAULT"])
def test_quality_of_service_that_does_not_fit_is_told_of(bench, profile):
    b = bench(input_qos=profile, output_qos=profile)
    assert b.node.trigger_configure() == SUCCESS
    session = b.node._session
    session._on_incompatible_qos("left", "/left/image_raw", None)
    session._on_incompatible_subscriber("/da3/points", None)
    issues = session._health.issues()
    assert issues["left", "qos"].level == ERROR
    assert issues["left", "qos"].text == (
        f"/left/image_raw: a publisher offers less than input_qos: {profile} asks for; set input_qos to SENSOR_DATA, "
        "or make the publisher reliable"
    )
    assert issues["", "qos /da3/points"].level == WARN
    assert issues["", "qos /da3/points"].text.startswith(
        f"/da3/points: a subscriber asks for more than output_qos: {profile} offers and gets nothing; set output_qos "
    )


def test_parameters_that_change_reach_what_goes_by_them(bench):
    b = bench(watchdog__timeout=1.0, diagnostics__period=0.5)
    assert b.node.trigger_configure() == SUCCESS
    assert b.node.trigger_activate() == SUCCESS
    session = b.node._session

    def periods():
        return sorted(timer.timer_period_ns / 1e9 for timer in b.node.timers)

    assert periods() == [0.25, 0.5, 0.5]
    before = session._report_timer, session._watchdog._timer
    for name, value in (("sync.max_skew", 0.004), ("sync.policy", "exact"), ("watchdog.timeout", 0.4)):
        assert b.node.set_parameters([Parameter(name, value=value)])[0].successful
    assert session._buffer.config.max_skew_ns == 4_000_000
    assert session._buffer.config.policy == "exact"
    assert periods() == [0.1, 0.5, 0.5]
    assert session._report_timer is before[0]
    assert session._watchdog._timer is not before[1]
    assert b.node.set_parameters([Parameter("diagnostics.period", value=0.2)])[0].successful
    assert periods() == [0.1, 0.2, 0.5]


def test_parameters_that_cannot_change_now_are_refused_by_name_and_the_rest_of_the_call_with_them(bench):
    b = bench()
    assert b.node.trigger_configure() == SUCCESS
    results = b.node.set_parameters_atomically([
        Parameter("max_range", value=9.0), Parameter("model", value="other"), Parameter("input_qos", value="DEFAULT"),
    ])  # fmt: skip
    assert not results.successful
    assert (
        results.reason == "model, input_qos: read only when the node is configured; clean it up, set, configure again"
    )
    assert b.node.get_parameter("max_range").value != 9.0
    assert b.node.set_parameters([Parameter("model", value=b.node.get_parameter("model").value)])[0].successful
    assert b.node.set_parameters([Parameter("use_sim_time", value=True)])[0].successful
    [result] = b.node.set_parameters([Parameter("cameras", value=[])])
    assert not result.successful


def test_who_publishes_a_topic_is_listed(bench):
    b = bench()
    b.peer.publisher("/left/image_raw", "sensor_msgs/msg/Image")
    b.peer.wait(lambda: b.node.count_publishers("/left/image_raw"), what="the publisher")
    # Names of nodes come after their publishers.
    b.peer.wait(lambda: describe_publishers(b.node, "/left/image_raw")[0] == ["peer: RELIABLE, VOLATILE"], what="it")
    _, kinds = describe_publishers(b.node, "/left/image_raw")
    assert kinds == {"sensor_msgs/msg/Image"}
    assert describe_publishers(b.node, "/nobody") == ([], set())


def test_parameters_that_were_given_are_known(bench):
    assert {"cameras", "diagnostics.period"} <= given_parameters(bench().node)
    assert given_parameters(SimpleNamespace()) == set()
