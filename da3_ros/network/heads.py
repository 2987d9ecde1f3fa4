# SPDX-License-Identifier: Apache-2.0
"""The heads for geometry: depth with rays of the any-view networks, depth with sky of the single-view ones."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from da3_ros.network.dpt import Dpt, output_layers
from da3_ros.network.presets import PATCH, Preset

RAY_LEVELS = 4
"""Ray outputs exist for four levels in the published files; only the last is used."""


class ChannelLast(nn.Module):
    """Moves channels to the last axis, or back."""

    def __init__(self, back: bool = False) -> None:
        super().__init__()
        self.axes = (0, 3, 1, 2) if back else (0, 2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Permute a tensor of four axes."""
        return x.permute(*self.axes)


class DualDpt(Dpt):
    """Depth with confidence at full resolution, rays with confidence at 8/14 of it (paper section 3.1)."""

    def __init__(self, preset: Preset) -> None:
        super().__init__(preset, positions=True, normalise=True)
        f, s = preset.head_features, self.scratch
        self.add_fusion_path("_aux")
        s.output_conv2 = output_layers(f, 2)
        s.output_conv1_aux = nn.ModuleList(_ray_neck(f) for _ in range(RAY_LEVELS))
        # One LayerNorm object serves all four levels: the published files store it once, under level 0.
        norm = nn.LayerNorm(32, eps=1e-5)
        s.output_conv2_aux = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(f // 2, 32, 3, padding=1),
                ChannelLast(),
                norm,
                ChannelLast(back=True),
                nn.ReLU(),
                nn.Conv2d(32, 7, 1),
            )
            for _ in range(RAY_LEVELS)
        )

    def forward(self, levels: list[Tensor], height: int, width: int, rays: bool = True) -> dict[str, Tensor]:
        """Tapped levels, each (N, P, 2 C), of images of height x width pixels -> dict of maps.

        depth, depth_conf: (N, H, W); and with `rays` ray: (N, 8H/14, 8W/14, 6), direction then origin; ray_conf:
        (N, 8H/14, 8W/14). Depth is positive, confidences are >= 1.
        """
        s = self.scratch
        laterals = self.laterals(levels, height, width)
        x = s.output_conv2(self.located(self.full_size(laterals, height, width), height, width))
        out = {"depth": x[:, 0].exp(), "depth_conf": x[:, 1].exp() + 1}
        if not rays:
            return out
        r = s.output_conv1_aux[-1](self.fuse(laterals, height // PATCH, width // PATCH, "_aux"))
        r = s.output_conv2_aux[-1](self.located(r, height, width))
        return {**out, "ray": r[:, :6].permute(0, 2, 3, 1), "ray_conf": r[:, 6].exp() + 1}


class DepthSkyDpt(Dpt):
    """Depth and sky from one image, without confidence (paper sections 4.1 and 4.3)."""

    def __init__(self, preset: Preset) -> None:
        super().__init__(preset, positions=False, normalise=False)
        self.scratch.output_conv2 = output_layers(preset.head_features, 1)
        self.scratch.sky_output_conv2 = output_layers(preset.head_features, 1)

    def forward(self, levels: list[Tensor], height: int, width: int) -> dict[str, Tensor]:
        """Tapped levels, each (N, P, C), -> depth (N, H, W), positive, and sky (N, H, W), 0 or more: 1 is sky."""
        x = self.full_size(self.laterals(levels, height, width), height, width)
        return {
            "depth": self.scratch.output_conv2(x)[:, 0].exp(),
            "sky": F.relu(self.scratch.sky_output_conv2(x)[:, 0]),
        }


def _ray_neck(features: int) -> nn.Sequential:
    """Five 3 x 3 convolutions, by design without activations between them."""
    half = features // 2
    widths = (features, half, features, half, features, half)
    return nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)))
