# SPDX-License-Identifier: Apache-2.0
"""Depth Anything 3 in PyTorch, compatible with the checkpoints that its authors published.

This is the only part of the runtime package that imports torch, together with ``da3_ros.export``.

Read `presets` (shapes), `model` (preset to network), `base` (what all networks share), `any_view` (the whole of one),
its parts `backbone`, `rope`, `reference_view`, `heads`, `dpt`, `camera_codec` and `gaussian_head`; then `single_view`
with `sky`, and `nested`; and `checkpoint` (weights on disk).
"""

from da3_ros.network.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from da3_ros.network.model import DepthAnything3, build_model, create_model
from da3_ros.network.presets import PRESETS, NestedPreset, Preset
from da3_ros.network.single_view import metric_depth

__all__ = [
    "PRESETS",
    "CheckpointError",
    "DepthAnything3",
    "NestedPreset",
    "Preset",
    "build_model",
    "create_model",
    "load_checkpoint",
    "metric_depth",
    "save_checkpoint",
]
