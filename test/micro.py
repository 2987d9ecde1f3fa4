# SPDX-License-Identifier: Apache-2.0
import pytest

from da3_ros.network import PRESETS, Preset

MICRO = Preset(
    "micro",
    64,
    4,
    4,
    (0, 1, 2, 3),
    2,
    16,
    (16, 16, 16, 16),
    normalise_qk=True,
    rope=True,
    camera_encoder_depth=1,
)


@pytest.fixture
def micro(monkeypatch):
    """A preset with every feature of the large ones whose tests take milliseconds."""
    monkeypatch.setitem(PRESETS, MICRO.name, MICRO)
    return MICRO.name
