# SPDX-License-Identifier: Apache-2.0
"""What all dense heads share: tokens of four levels, reassembled as images and fused coarse to fine.

The dense prediction transformer of Ranftl et al. (arXiv 2103.13413), in the variant of paper section 3.1.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from da3_ros.network.presets import PATCH, Preset

GAIN = 0.1
"""Of the positions that are added to the features."""


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
        # A 1 x 1 convolution and an interpolation, whose weights sum to 1, may change places: here it has fewer pixels.
        path = self.out_conv(self.resConfUnit2(path))
        return F.interpolate(path, size=size, mode="bilinear", align_corners=True)


class Scratch(nn.Module):
    """Container that gives the fusion layers the names of the published files."""


class Dpt(nn.Module):
    """Base of the heads: reassembly of the levels and one fusion path.

    positions: whether the features are told where they are in the image plane. normalise: LayerNorm on the
    tokens first. Subclasses add their output layers to ``scratch``.
    """

    def __init__(self, preset: Preset, *, positions: bool, normalise: bool) -> None:
        super().__init__()
        dim, f, channels = preset.feature_dim, preset.head_features, preset.head_channels
        self.positions = positions
        self.norm: nn.Module = nn.LayerNorm(dim, eps=1e-5) if normalise else nn.Identity()
        self.projects = nn.ModuleList(nn.Conv2d(dim, c, 1) for c in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, 4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, 2, 1),
            ]
        )
        s: Any = Scratch()  # a bare container, as in upstream's key layout
        self.scratch = s
        for i, c in enumerate(channels, start=1):
            setattr(s, f"layer{i}_rn", nn.Conv2d(c, f, 3, padding=1, bias=False))
        self.add_fusion_path("")
        s.output_conv1 = nn.Conv2d(f, f // 2, 3, padding=1)

    def add_fusion_path(self, suffix: str) -> None:
        """Make the four fusion blocks ``refinenet{1..4}`` + `suffix`."""
        features = self.scratch.layer1_rn.out_channels
        for i in range(1, 5):
            setattr(self.scratch, f"refinenet{i}{suffix}", FusionBlock(features, has_lateral=i < 4))

    def laterals(self, levels: list[Tensor], height: int, width: int) -> list[Tensor]:
        """Levels (N, P, D) as images (N, F, h, w) at 4, 2, 1 and 1/2 times the patch grid."""
        ph, pw = height // PATCH, width // PATCH
        plane = image_plane(ph, pw, width / height, levels[0]) if self.positions else None
        out = []
        for i, tokens in enumerate(levels):
            # This view of the tokens is already in channels-last memory order, which CPUs convolve faster.
            x = self.norm(tokens).unflatten(1, (ph, pw)).permute(0, 3, 1, 2)
            if torch.compiler.is_exporting():  # a graph has no memory order, and this one is traced sooner
                x = x.contiguous()
            x = self.located(self.projects[i](x), height, width, plane)
            out.append(getattr(self.scratch, f"layer{i + 1}_rn")(self.resize_layers[i](x)))
        return out

    def fuse(self, laterals: list[Tensor], ph: int, pw: int, suffix: str = "") -> Tensor:
        """Merge the four levels, coarsest first, into (N, F, 8 ph, 8 pw)."""
        s = self.scratch
        path = getattr(s, f"refinenet4{suffix}")(laterals[3], (ph, pw))
        path = getattr(s, f"refinenet3{suffix}")(path, (2 * ph, 2 * pw), laterals[2])
        path = getattr(s, f"refinenet2{suffix}")(path, (4 * ph, 4 * pw), laterals[1])
        return getattr(s, f"refinenet1{suffix}")(path, (8 * ph, 8 * pw), laterals[0])

    def full_size(self, laterals: list[Tensor], height: int, width: int) -> Tensor:
        """Fused features (N, F/2, height, width), before they are told their positions."""
        x = self.scratch.output_conv1(self.fuse(laterals, height // PATCH, width // PATCH))
        return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)

    def located(self, x: Tensor, height: int, width: int, plane: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """`x` (N, C, h, w) with its image-plane positions added, where this head has them.

        plane: `image_plane` of the grid, where it is known already.
        """
        if not self.positions:
            return x
        if plane is None:
            plane = image_plane(x.shape[2], x.shape[3], width / height, x)
        return x + position_embedding(x.shape[1], *plane, x.dtype)


def output_layers(features: int, channels: int) -> nn.Sequential:
    """3 x 3 convolution to 32, ReLU, 1 x 1 convolution to `channels`: (N, F/2, H, W) -> (N, channels, H, W)."""
    return nn.Sequential(nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, channels, 1))


def image_plane(h: int, w: int, aspect: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates x (w,) and y (h,) of pixel centres in float32, on a plane whose half diagonal is 1.

    aspect: width / height of the image, which the pixels of a coarser grid need not have. like: for the device.
    """
    diagonal = (aspect * aspect + 1.0) ** 0.5
    x, y = (
        (torch.arange(n, device=like.device, dtype=torch.float32) * 2 + (1 - n)) * (span / n)
        for n, span in ((w, aspect / diagonal), (h, 1.0 / diagonal))
    )
    return x, y


def position_embedding(channels: int, x: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
    """Sine-cosine embedding (channels, h, w) of the positions of `image_plane`, times `GAIN`, in `dtype`.

    The first half of the channels encodes x, the second y. Worked out in float32 whatever `dtype` is.
    """
    quarter = channels // 4
    omega = 100.0 ** (-torch.arange(quarter, device=x.device, dtype=torch.float32).unsqueeze(1) / quarter)
    of_x, of_y = (
        (GAIN * torch.cat([angle.sin(), angle.cos()])).to(dtype) for angle in (omega * centres for centres in (x, y))
    )
    h, w = y.shape[0], x.shape[0]
    return torch.cat([of_x.unsqueeze(1).expand(-1, h, -1), of_y.unsqueeze(2).expand(-1, -1, w)])
