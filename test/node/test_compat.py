# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("rclpy")

import pytest

from da3_ros.node.compat import transport_warning

FAST = "rmw_fastrtps_cpp"
LARGE = {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA?max_msg_size=4MB"}


@pytest.mark.parametrize(
    ("environment", "middleware"),
    [
        (LARGE, FAST),
        ({**LARGE, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, FAST),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "/etc/dds.xml"}, FAST),
        ({}, "rmw_cyclonedds_cpp"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, "rmw_zenoh_cpp"),
    ],
)
def test_nothing_to_say(environment, middleware):
    assert transport_warning(environment, middleware) == ""


def test_default_transports():
    assert "set FASTDDS_BUILTIN_TRANSPORTS to LARGE_DATA" in transport_warning({}, FAST)


def test_localhost_undoes_the_setting():
    text = transport_warning({**LARGE, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, FAST)
    assert "LOCALHOST makes Fast DDS ignore" in text
