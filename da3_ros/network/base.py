# SPDX-License-Identifier: Apache-2.0
"""What every network of the family has in common: its face, its encoder's place, checks of its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from da3_ros.network.backbone import VisionTransformer
from da3_ros.network.presets import PATCH, NestedPreset, Preset

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class DepthAnything3(nn.Module):
    """A network of the Depth Anything 3 family (arXiv 2511.10647); `create_model` makes the kind that a preset names.

    All kinds are called alike, ``model(images, extrinsics=None, intrinsics=None, reference=...)``, and return a dict
    of tensors. The state dict has the key names of the published files without their ``model.`` prefix.
    """

    preset: Preset | NestedPreset

    def __init__(self, preset: Preset | NestedPreset) -> None:
        super().__init__()
        self.preset = preset

    def check_features(self, features: Sequence[int]) -> None:
        """Raise ValueError for indices of blocks that the (any-view) encoder does not have."""
        preset = self.preset.any_view if isinstance(self.preset, NestedPreset) else self.preset
        wrong = [i for i in features if not 0 <= i < preset.depth]
        if wrong:
            raise ValueError(f"features {wrong} name no block of {preset.name}: allowed are 0 to {preset.depth - 1}")


class Backbone(nn.Module):
    """Container that gives the encoder the prefix of the published files."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.pretrained = VisionTransformer(preset)


def check_images(images: Tensor) -> tuple[int, int, int, int]:
    """Sizes B, S, H, W of images (B, S, 3, H, W); raises ValueError for shapes that no network can use."""
    if images.ndim != 5 or images.shape[2] != 3:
        raise ValueError(f"images must be (B, S, 3, H, W), got {tuple(images.shape)}")
    b, s, _, height, width = images.shape
    if height % PATCH or width % PATCH:
        raise ValueError(f"image size {height}x{width} must be a multiple of {PATCH} on both sides: resize first")
    return b, s, height, width


def in_parts(
    head: Callable[[list[Tensor]], dict[str, Tensor]], inputs: list[Tensor], size: int | None
) -> dict[str, Tensor]:
    """Run a head on its inputs, each (N, ...), `size` of the N at a time, and join what it returns.

    Heads work image by image, so the parts change nothing but the memory that is needed at once.
    """
    if size is None:
        return head(inputs)
    if size < 1:
        raise ValueError(f"views_at_once is {size}: give 1 or more, or None for all at once")
    parts = [head([x[i : i + size] for x in inputs]) for i in range(0, len(inputs[0]), size)]
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
