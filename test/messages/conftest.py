# SPDX-License-Identifier: Apache-2.0
"""Message classes of both kinds: generated ones where ROS 2 is there, and a bag's type store always."""

import importlib

import cv2
import numpy as np
import pytest
from message_images import H, W

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


@pytest.fixture
def rgb():
    """Smooth colours, so that chroma at half resolution and demosaicing lose little."""
    y, x = np.mgrid[:H, :W]
    return np.stack([60 + 8 * x, 200 - 9 * y, 90 + 3 * x + 4 * y], axis=-1).astype(np.uint8)


@pytest.fixture
def large():
    """Image with texture in the middle, so that a cut JPEG lacks something."""
    rng = np.random.default_rng(3)
    return cv2.resize(rng.integers(0, 255, (20, 30, 3), np.uint8), (320, 240))
