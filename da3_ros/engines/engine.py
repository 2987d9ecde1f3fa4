# SPDX-License-Identifier: Apache-2.0
"""What every inference engine does: images of one scene in, raw geometry out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.files import GAUSSIANS, KNOWN, MASK, METRIC_SCALE, OUTPUTS, RAYS, SKY

ASSUMED_FIELD = np.radians(60.0)
"""Horizontal field of view of a camera of which nothing is known."""


class EngineError(RuntimeError):
    """An engine cannot be loaded or cannot run; the message says what to do."""


@dataclass(frozen=True)
class RawEstimate:
    """Output of the network for S views of h x w pixels, in the network's own unit of length."""

    depth: NDArray[np.float32]
    """(S, h, w), along the optical axis, positive."""
    confidence: NDArray[np.float32]
    """(S, h, w), at least 1."""
    extrinsics: NDArray[np.float32]
    """T_camera_world (S, 3, 4)."""
    intrinsics: NDArray[np.float32]
    """(S, 3, 3) in pixels, principal point at the image centre (w / 2, h / 2)."""
    sky: NDArray[np.float32] | None = None
    """(S, h, w), 0.3 and more is sky; None from networks that do not look for it."""

    rays: NDArray[np.float32] | None = None
    """(S, h', w', 6), direction then origin in the first view's world, 8/14 of the size; None from graphs without."""
    ray_confidence: NDArray[np.float32] | None = None
    """(S, h', w')."""
    gaussians: NDArray[np.float32] | None = None
    """(S, h, w, R + 1), the Gaussian head's output, opacity last; None from graphs without."""
    metric_scale: float | None = None
    """Metres in one unit, from networks that tell it; 0 where these images do not tell."""

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, NDArray[np.float32]]) -> RawEstimate:
        """From the outputs of a graph by name.

        A graph of a network that looks at each image alone has depth and sky only. Every pixel then has confidence 1,
        every camera stands at the origin and has the field of view ASSUMED_FIELD; see ``EngineInfo.single_view``.
        """
        if "extrinsics" in outputs:
            names = [name for name in (*OUTPUTS, SKY, *RAYS, GAUSSIANS) if name in outputs]
            values: dict[str, Any] = {name: outputs[name] for name in names}
            if METRIC_SCALE in outputs:
                values[METRIC_SCALE] = float(outputs[METRIC_SCALE][0])
            return cls(**values)
        depth = outputs["depth"]
        views, height, width = depth.shape
        focal = width / (2 * np.tan(ASSUMED_FIELD / 2))
        k = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)
        pose = np.eye(3, 4, dtype=np.float32)
        ones = np.ones_like(depth)
        return cls(depth, ones, np.tile(pose, (views, 1, 1)), np.tile(k, (views, 1, 1)), outputs["sky"])


@dataclass(frozen=True)
class EngineInfo:
    """What runs where."""

    model: str
    backend: str
    """For example ``onnxruntime CPU``."""
    takes_poses: bool
    """Whether it can be given the cameras."""
    patch: int
    sha256: str
    """Of the graph file, so that results can be traced to it."""
    rays: bool = False
    """Whether its estimates hold a ray map."""
    scenes: bool = False
    """Whether it has `run_scenes`, for several view sets at once."""
    views: tuple[int, ...] = ()
    """Numbers of images that it takes; empty: any."""
    single_view: bool = False
    """Whether the network looks at each image alone: it then knows nothing of cameras, and those in its estimate are
    assumed."""
    gaussians: bool = False
    """Whether its estimates hold Gaussians."""
    mixes: bool = False
    """Whether it can be given the cameras of some views only."""


class Engine(Protocol):
    """Runs one model. Not thread safe: one caller at a time. One that holds memory that Python does not free has a
    ``close()`` besides, which `Estimator.close` calls.
    """

    info: EngineInfo

    def run(
        self,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None = None,
        intrinsics: NDArray[np.float32] | None = None,
        known: NDArray[np.bool_] | None = None,
    ) -> RawEstimate:
        """Estimate the geometry of images (S, h, w, 3), RGB, h and w multiples of the patch size.

        extrinsics: T_camera_world (S, 4, 4), intrinsics (S, 3, 3) in pixels, both or neither, and only where
        ``info.takes_poses``. known: (S,), which of them are known, None for all; not all only where ``info.mixes``. The
        values of the others are ignored, but must be finite. Raises EngineError.
        """
        ...


def check_inputs(
    info: EngineInfo,
    images: NDArray[np.uint8],
    extrinsics: NDArray[np.float32] | None,
    intrinsics: NDArray[np.float32] | None,
    known: NDArray[np.bool_] | None = None,
) -> str:
    """Kind of graph that runs these inputs, ``unposed`` or ``posed``. Raises EngineError for inputs that none takes."""
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise EngineError(f"images must be (S, h, w, 3) uint8, got {images.shape} {images.dtype}")
    if images.shape[1] % info.patch or images.shape[2] % info.patch:
        raise EngineError(f"image size {images.shape[1]}x{images.shape[2]} must be a multiple of {info.patch}")
    if (extrinsics is None) != (intrinsics is None):
        raise EngineError("extrinsics and intrinsics belong together: give both, or neither")
    if extrinsics is None or intrinsics is None:
        if known is not None:
            raise EngineError("known tells which of the cameras count: give extrinsics and intrinsics, too")
        return "unposed"
    if not info.takes_poses:
        raise EngineError(f"{info.model} has no posed.onnx: this model was exported without known cameras")
    views = images.shape[0]
    if extrinsics.shape != (views, 4, 4) or intrinsics.shape != (views, 3, 3):
        raise EngineError(
            f"{views} views need extrinsics ({views}, 4, 4) and intrinsics ({views}, 3, 3), "
            f"got {extrinsics.shape} and {intrinsics.shape}"
        )
    if known is None:
        return "posed"
    if known.shape != (views,) or known.dtype != np.bool_:
        raise EngineError(f"known must be ({views},) bool, got {known.shape} {known.dtype}")
    if not known.any():
        return "unposed"
    if not known.all() and not info.mixes:
        raise EngineError(
            f"posed.onnx of {info.model} takes all cameras or none, it comes from an early export: export it again"
        )
    return "posed"


def camera_inputs(
    extrinsics: NDArray[np.float32] | None,
    intrinsics: NDArray[np.float32] | None,
    known: NDArray[np.bool_] | None,
    mixes: bool,
) -> dict[str, NDArray[np.float32]]:
    """Inputs of a posed graph beside the images, by name, for inputs that `check_inputs` has passed; they may have a
    dimension of scenes before the others.
    """
    if extrinsics is None or intrinsics is None:
        return {}
    feed = {key: np.ascontiguousarray(x, np.float32) for key, x in zip(KNOWN, (extrinsics, intrinsics), strict=True)}
    if mixes:
        feed[MASK] = np.ones(extrinsics.shape[:-2], np.float32) if known is None else known.astype(np.float32)
    elif known is not None and not known.all():
        raise EngineError("this graph takes all cameras or none, it comes from an early export: export it again")
    return feed
