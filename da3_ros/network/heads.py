# SPDX-License-Identifier: Apache-2.0
"""The dual DPT head: one reassembly of tokens, two fusion paths, for depth and for rays (paper section 3.1)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from da3_ros.network.presets import PATCH, Preset

RAY_LEVELS = 4
"""Ray outputs exist for four levels in the published files; only the last is used."""


class ResidualConvUnit(nn.Module):
    """Two pre-activated 3 x 3 convolutions with a skip."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, F, h, w) -> same shape."""
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class FusionBlock(nn.Module):
    """Adds a lateral level to the coarser path, refines it and brings it to the next finer size."""

    def __init__(self, features: int, has_lateral: bool = True) -> None:
        super().__init__()
        if has_lateral:
            self.resConfUnit1 = ResidualConvUnit(features)
        self.resConfUnit2 = ResidualConvUnit(features)
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, path: Tensor, size: tuple[int, int], lateral: Tensor | None = None) -> Tensor:
        """(N, F, h, w) -> (N, F, *size)."""
        if lateral is not None:
            path = path + self.resConfUnit1(lateral)
        path = self.resConfUnit2(path)
        return self.out_conv(F.interpolate(path, size=size, mode="bilinear", align_corners=True))


class ChannelLast(nn.Module):
    """Moves channels to the last axis, or back."""

    def __init__(self, back: bool = False) -> None:
        super().__init__()
        self.axes = (0, 3, 1, 2) if back else (0, 2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Permute a tensor of four axes."""
        return x.permute(*self.axes)


class Scratch(nn.Module):
    """Container that gives the fusion layers the names of the published files."""


def uv_embedding(channels: int, h: int, w: int, aspect: float, like: Tensor) -> Tensor:
    """Sine-cosine embedding (channels, h, w) of position in the image plane.

    Coordinates are those of pixel centres on a plane whose half diagonal is 1; `aspect` is image width / height.
    The first half of the channels encodes x, the second y.
    """
    diagonal = (aspect * aspect + 1.0) ** 0.5
    quarter = channels // 4
    omega = 100.0 ** (-torch.arange(quarter, device=like.device, dtype=torch.float32) / quarter)
    parts = []
    for n, span in ((w, aspect / diagonal), (h, 1.0 / diagonal)):
        centres = (torch.arange(n, device=like.device, dtype=torch.float32) * 2 + 1 - n) * (span / n)
        angle = centres[:, None] * omega
        parts.append(torch.cat([angle.sin(), angle.cos()], dim=-1))
    x, y = parts
    grid = torch.cat([x[None].expand(h, w, -1), y[:, None].expand(h, w, -1)], dim=-1)
    return grid.permute(2, 0, 1).to(like.dtype)


class DualDpt(nn.Module):
    """Depth with confidence at full resolution, rays with confidence at 8/14 of it."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        dim, f, channels = 2 * preset.width, preset.head_features, preset.head_channels
        self.norm = nn.LayerNorm(dim, eps=1e-5)
        self.projects = nn.ModuleList(nn.Conv2d(dim, c, 1) for c in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, 4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, 2, 1),
            ]
        )
        s = self.scratch = Scratch()
        for i, c in enumerate(channels, start=1):
            setattr(s, f"layer{i}_rn", nn.Conv2d(c, f, 3, padding=1, bias=False))
        for suffix in ("", "_aux"):
            for i in range(1, 5):
                setattr(s, f"refinenet{i}{suffix}", FusionBlock(f, has_lateral=i < 4))
        s.output_conv1 = nn.Conv2d(f, f // 2, 3, padding=1)
        s.output_conv2 = nn.Sequential(nn.Conv2d(f // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 2, 1))
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

    def forward(self, levels: list[Tensor], height: int, width: int) -> dict[str, Tensor]:
        """Tapped levels, each (N, P, 2 C), of images of height x width pixels -> dict of maps.

        depth, depth_conf: (N, H, W); ray: (N, 8H/14, 8W/14, 6), direction then origin; ray_conf: (N, 8H/14, 8W/14).
        Depth is positive, confidences are >= 1.
        """
        s: Any = self.scratch  # a bare container, as in upstream's key layout
        ph, pw = height // PATCH, width // PATCH
        aspect = width / height
        laterals = []
        for i, tokens in enumerate(levels):
            # This view of the tokens is already in channels-last memory order, which CPUs convolve faster.
            x = self.norm(tokens).unflatten(1, (ph, pw)).permute(0, 3, 1, 2)
            x = self.projects[i](x)
            x = x + 0.1 * uv_embedding(x.shape[1], ph, pw, aspect, x)
            laterals.append(getattr(s, f"layer{i + 1}_rn")(self.resize_layers[i](x)))

        depth_path = self._fuse(laterals, "", ph, pw)
        x = s.output_conv1(depth_path)
        x = F.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)
        x = s.output_conv2(x + 0.1 * uv_embedding(x.shape[1], height, width, aspect, x))

        r = s.output_conv1_aux[-1](self._fuse(laterals, "_aux", ph, pw))
        r = s.output_conv2_aux[-1](r + 0.1 * uv_embedding(r.shape[1], 8 * ph, 8 * pw, aspect, r))
        return {
            "depth": x[:, 0].exp(),
            "depth_conf": x[:, 1].exp() + 1,
            "ray": r[:, :6].permute(0, 2, 3, 1),
            "ray_conf": r[:, 6].exp() + 1,
        }

    def _fuse(self, laterals: list[Tensor], suffix: str, ph: int, pw: int) -> Tensor:
        """Merge the four levels, coarsest first, into (N, F, 8 ph, 8 pw)."""
        s = self.scratch
        path = getattr(s, f"refinenet4{suffix}")(laterals[3], (ph, pw))
        path = getattr(s, f"refinenet3{suffix}")(path, (2 * ph, 2 * pw), laterals[2])
        path = getattr(s, f"refinenet2{suffix}")(path, (4 * ph, 4 * pw), laterals[1])
        return getattr(s, f"refinenet1{suffix}")(path, (8 * ph, 8 * pw), laterals[0])


def _ray_neck(features: int) -> nn.Sequential:
    """Five 3 x 3 convolutions, by design without activations between them."""
    half = features // 2
    widths = (features, half, features, half, features, half)
    return nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)))
