# SPDX-License-Identifier: Apache-2.0
"""Message classes of both kinds: generated ones where ROS 2 is there, and a bag's type store always."""

import importlib

import pytest

from da3_ros.messages import MessageTypes


def generated(name: str) -> type:
    package, _, kind = name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), kind)


@pytest.fixture(params=["generated", "bag"])
def types(request) -> MessageTypes:
    if request.param == "generated":
        pytest.importorskip("sensor_msgs.msg")
        return MessageTypes(generated)
    rosbags = pytest.importorskip("rosbags.typesys")
    return MessageTypes(rosbags.get_typestore(rosbags.Stores.ROS2_HUMBLE).types.__getitem__)
