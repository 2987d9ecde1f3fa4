# SPDX-License-Identifier: Apache-2.0
"""What every inference engine does: images of one scene in, raw geometry out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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


@dataclass(frozen=True)
class EngineInfo:
    """What runs where."""

    model: str
    backend: str
    """For example ``onnxruntime CPU``."""
    takes_poses: bool
    patch: int
    sha256: str
    """Of the graph file, so that results can be traced to it."""


class Engine(Protocol):
    """Runs one model. Not thread safe: one caller at a time."""

    info: EngineInfo

    def run(
        self,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None = None,
        intrinsics: NDArray[np.float32] | None = None,
    ) -> RawEstimate:
        """Estimate the geometry of images (S, h, w, 3), RGB, h and w multiples of the patch size.

        extrinsics: T_camera_world (S, 4, 4), intrinsics (S, 3, 3) in pixels, both or neither, and only where
        ``info.takes_poses``. Raises EngineError.
        """
        ...


def load_engine(folder: Path, threads: int = 0) -> Engine:
    """Best engine on this machine for the exported model in `folder`.

    threads: of a CPU engine; 0 lets it take every core. Raises EngineError that names what is missing.
    """
    # The TensorRT engine will be asked first where a GPU is found; until then every machine runs on its CPU.
    from da3_ros.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(folder, threads)
