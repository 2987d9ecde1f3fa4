# SPDX-License-Identifier: Apache-2.0
"""The head that predicts a 3D Gaussian for every pixel (paper, "Feed-Forward 3D Gaussian Splattings")."""

from __future__ import annotations

from torch import Tensor, nn

from da3_ros.geometry.gaussians import raw_channels
from da3_ros.network.dpt import Dpt, output_layers
from da3_ros.network.presets import Preset


class GaussianDpt(Dpt):
    """DPT on the levels of the any-view encoder, with the images themselves mixed in at full resolution."""

    def __init__(self, preset: Preset) -> None:
        super().__init__(preset, positions=True, normalise=False)
        if preset.gaussian_degree is None:
            raise ValueError(f"{preset.name} has no gaussian_degree: set it to give the network a Gaussian head")
        half = preset.head_features // 2
        self.scratch.output_conv2 = output_layers(preset.head_features, raw_channels(preset.gaussian_degree) + 1)
        self.images_merger = nn.Sequential(
            nn.Conv2d(3, half // 4, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(half // 4, half // 2, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(half // 2, half, 3, padding=1),
            nn.GELU(),
        )

    def forward(self, levels: list[Tensor], images: Tensor) -> dict[str, Tensor]:
        """Tapped levels, each (N, P, 2 C), and images (N, 3, H, W), normalised.

        Returns raw (N, H, W, R), R by `raw_channels`, as `world_gaussians` takes it, and opacity (N, H, W), 0 to 1.
        """
        height, width = images.shape[-2:]
        x = self.full_size(self.laterals(levels, height, width), height, width) + self.images_merger(images)
        x = self.scratch.output_conv2(self.located(x, height, width)).permute(0, 2, 3, 1)
        return {"raw": x[..., :-1], "opacity": x[..., -1].sigmoid()}
