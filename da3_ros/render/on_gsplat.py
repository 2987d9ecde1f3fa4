# SPDX-License-Identifier: Apache-2.0
"""Gaussians drawn by gsplat on a CUDA GPU. Never run on a GPU: what gsplat is given is tested, its answers are not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.poses import invert
from da3_ros.render.config import LOW_PASS, RenderConfig, Rendering, checked_pose


class GsplatRenderer:
    """A `da3_ros.render.renderers.Renderer` by ``gsplat.rasterization`` (written for gsplat 1.5).

    It differs from the CPU's in what the library fixes: a Gaussian covers at most 0.999 of a pixel (0.99 there), all
    arithmetic is of 32 bits, and Gaussians are cut off at 3.33 standard deviations (at alpha 1/255 both).
    """

    def __init__(self, gaussians: Gaussians, config: RenderConfig | None = None, device: str = "cuda") -> None:
        import torch
        from gsplat import rasterization

        self._config = config or RenderConfig()
        self._torch, self._rasterization, self._device = torch, rasterization, device
        self._scene = {
            "means": self._on_device(gaussians.means),
            "quats": self._on_device(gaussians.rotations),  # w x y z
            "scales": self._on_device(gaussians.scales),
            "opacities": self._on_device(gaussians.opacities),
            "colors": self._on_device(np.swapaxes(np.asarray(gaussians.harmonics), 1, 2)),  # (N, n, 3)
        }
        self._degree = self._config.degree_of(gaussians)

    def _on_device(self, values: Any) -> Any:
        return self._torch.as_tensor(np.ascontiguousarray(values, np.float32), device=self._device)

    def __call__(self, camera: CameraModel, T_world_camera: NDArray[np.float64]) -> Rendering:
        """What the camera sees."""
        k = camera.K
        k[:2, 2] += 0.5  # gsplat counts pixels from the image corner
        with self._torch.inference_mode():
            seen, alpha, _ = self._rasterization(
                **self._scene,
                viewmats=self._on_device(invert(checked_pose(camera, T_world_camera))[None]),
                Ks=self._on_device(k[None]),
                width=camera.width,
                height=camera.height,
                near_plane=self._config.near,
                eps2d=LOW_PASS,
                sh_degree=self._degree,
                backgrounds=self._on_device([self._config.background]),
                render_mode="RGB+ED",
                rasterize_mode="antialiased" if self._config.antialiased else "classic",
            )
        values, cover = seen[0].cpu().numpy(), alpha[0, ..., 0].cpu().numpy()
        return Rendering(values[..., :3], cover, np.where(cover > 0, values[..., 3], np.float32(np.nan)))
