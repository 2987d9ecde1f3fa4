# SPDX-License-Identifier: Apache-2.0
"""CPU engine on ONNX Runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.engine import EngineError, EngineInfo, RawEstimate

PLAIN, POSED = "unposed.onnx", "posed.onnx"
"""File names of the two graphs in a model's folder: cameras unknown, cameras known."""

KNOWN = ("known_extrinsics", "known_intrinsics")
"""Further inputs of the graph for known cameras: T_camera_world (S, 4, 4) and intrinsics (S, 3, 3) in pixels."""
OUTPUTS = ["depth", "confidence", "extrinsics", "intrinsics"]


class OnnxRuntimeEngine:
    """Runs ``unposed.onnx``, and ``posed.onnx`` when cameras are given and the file exists."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError("ONNX Runtime is not installed: `pip install onnxruntime`") from error
        self._runtime = onnxruntime
        self._folder, self._threads = Path(folder), threads
        plain = self._folder / PLAIN
        if not plain.is_file():
            raise EngineError(f"{folder} has no {PLAIN}: make it with `da3 export {folder}`")
        self._sessions: dict[str, Any] = {PLAIN: self._open(plain)}
        meta = self._sessions[PLAIN].get_modelmeta().custom_metadata_map
        self.info = EngineInfo(
            model=meta.get("da3.model", self._folder.name),
            backend=f"onnxruntime {onnxruntime.__version__} CPU",
            takes_poses=(self._folder / POSED).is_file(),
            patch=int(meta.get("da3.patch", 14)),
            sha256=hashlib.sha256(plain.read_bytes()).hexdigest(),
        )

    def run(
        self,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None = None,
        intrinsics: NDArray[np.float32] | None = None,
    ) -> RawEstimate:
        """See `Engine.run`."""
        patch = self.info.patch
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise EngineError(f"images must be (S, h, w, 3) uint8, got {images.shape} {images.dtype}")
        if images.shape[1] % patch or images.shape[2] % patch:
            raise EngineError(f"image size {images.shape[1]}x{images.shape[2]} must be a multiple of {patch}")
        if (extrinsics is None) != (intrinsics is None):
            raise EngineError("extrinsics and intrinsics belong together: give both, or neither")
        feed = {"images": np.ascontiguousarray(images)}
        name = PLAIN
        if extrinsics is not None and intrinsics is not None:
            if not self.info.takes_poses:
                raise EngineError(f"{self._folder} has no {POSED}: this model was exported without known cameras")
            name = POSED
            for key, value in zip(KNOWN, (extrinsics, intrinsics), strict=True):
                feed[key] = np.ascontiguousarray(value, dtype=np.float32)
        if name not in self._sessions:
            self._sessions[name] = self._open(self._folder / name)
        try:
            outputs = self._sessions[name].run(OUTPUTS, feed)
        except Exception as error:  # ONNX Runtime raises many types without a common base
            raise EngineError(f"ONNX Runtime failed on {images.shape[0]} views: {error}") from error
        return RawEstimate(*outputs)

    def _open(self, path: Path) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Spinning workers would burn the core that decodes and publishes; they sleep between layers instead.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            return self._runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise EngineError(f"ONNX Runtime cannot load {path}: {error}") from error
