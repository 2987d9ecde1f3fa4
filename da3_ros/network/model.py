# SPDX-License-Identifier: Apache-2.0
"""From a preset to its network."""

from __future__ import annotations

import torch
from torch import nn

from da3_ros.network.any_view import AnyViewNetwork
from da3_ros.network.backbone import VisionTransformer
from da3_ros.network.base import IMAGE_MEAN, IMAGE_STD, DepthAnything3
from da3_ros.network.nested import NestedNetwork
from da3_ros.network.presets import NestedPreset, Preset, get_preset
from da3_ros.network.single_view import SingleViewNetwork

__all__ = ["IMAGE_MEAN", "IMAGE_STD", "DepthAnything3", "build_model", "create_model"]


def create_model(name: str) -> DepthAnything3:
    """Network of preset `name` with fresh weights; raises ``ValueError`` that lists the known names."""
    return build_model(get_preset(name))


def build_model(preset: Preset | NestedPreset) -> DepthAnything3:
    """Network of a preset, listed or not (a small one of the same structure, say), with fresh weights."""
    model: DepthAnything3
    if isinstance(preset, NestedPreset):
        model = NestedNetwork(preset)
    else:
        model = SingleViewNetwork(preset) if preset.single_view else AnyViewNetwork(preset)
    with torch.no_grad():
        for vit in model.modules():
            if isinstance(vit, VisionTransformer):
                tokens = [vit.cls_token, vit.pos_embed]
                if not vit.preset.single_view:
                    tokens.insert(1, vit.camera_token)
                for token in tokens:
                    nn.init.trunc_normal_(token, std=0.02)
    return model
