# SPDX-License-Identifier: Apache-2.0
"""Small stand-ins for every kind of network; the fixtures `micro` and `micros` put them among the presets."""

from da3_ros.network import NestedPreset, Preset
from da3_ros.network.presets import SINGLE_VIEW

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

MICRO_SINGLE = Preset(
    "micro-single",
    64,
    4,
    4,
    (0, 1, 2, 3),
    SINGLE_VIEW,
    16,
    (16, 16, 16, 16),
    normalise_qk=False,
    rope=False,
)

# Like the giant: gated feed-forward, a cross-view block as the first that knows about views, a Gaussian head.
MICRO_GIANT = Preset(
    "micro-giant",
    64,
    5,
    4,
    (1, 2, 3, 4),
    3,
    16,
    (16, 16, 16, 16),
    ffn="swiglu",
    camera_encoder_depth=1,
    gaussian_degree=2,
)

MICRO_NESTED = NestedPreset("micro-nested", MICRO_GIANT, MICRO_SINGLE)

LARGE = (280, 280)
"""Height and width of images whose attention matrices outweigh everything else in memory."""

MICROS = (MICRO, MICRO_SINGLE, MICRO_GIANT, MICRO_NESTED)
"""Small stand-ins for every kind of network; the fixture `micros` lists them among the presets."""
