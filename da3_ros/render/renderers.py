# SPDX-License-Identifier: Apache-2.0
"""Who draws: NumPy on the CPU, or gsplat on a CUDA GPU."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.gaussians import Gaussians
from da3_ros.render.config import RenderConfig, Rendering, checked_pose
from da3_ros.render.project import Projector
from da3_ros.render.rasterise import rasterise

Renderer = Callable[[CameraModel, NDArray[np.float64]], Rendering]
"""Draws one set of Gaussians for a pinhole camera and its T_world_camera (4, 4), in the unit of the Gaussians. Raises
ValueError for a camera with distortion and for a pose that is none."""

RENDERERS = ("auto", "cpu", "gsplat")


class CpuRenderer:
    """A `Renderer` in NumPy, of Gaussians with one leading axis."""

    def __init__(self, gaussians: Gaussians, config: RenderConfig | None = None) -> None:
        self._config = config or RenderConfig()
        self._project = Projector(gaussians, self._config)

    def __call__(self, camera: CameraModel, T_world_camera: NDArray[np.float64]) -> Rendering:
        """What the camera sees."""
        splats = self._project(camera, checked_pose(camera, T_world_camera))
        return rasterise(splats, camera.width, camera.height, self._config.background)


def without_gsplat() -> str | None:
    """Why gsplat cannot draw here, in words; None where it can."""
    missing = [name for name in ("torch", "gsplat") if find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed"
    import torch

    return None if torch.cuda.is_available() else "PyTorch finds no CUDA GPU"


def choose_renderer(name: str, gaussians: Gaussians, config: RenderConfig) -> tuple[Renderer, str]:
    """A renderer by its name of `RENDERERS`, and which one it is, and why, in words.

    ``auto``: gsplat where it can draw, else the CPU. Raises ValueError for another name, and for ``gsplat`` where it
    cannot draw.
    """
    if name not in RENDERERS:
        raise ValueError(f"renderer {name!r}: allowed are {', '.join(RENDERERS)}")
    if name == "cpu":
        return CpuRenderer(gaussians, config), "on the CPU"
    lack = without_gsplat()
    if lack is None:
        from da3_ros.render.on_gsplat import GsplatRenderer

        return GsplatRenderer(gaussians, config), "by gsplat, on the GPU"
    if name == "gsplat":
        raise ValueError(f"gsplat cannot draw: {lack}; `pip install torch gsplat` on a machine with a CUDA GPU, or cpu")
    return CpuRenderer(gaussians, config), f"on the CPU, since gsplat cannot draw: {lack}"
