# SPDX-License-Identifier: Apache-2.0
"""The plane sweep on ONNX Runtime, with any of its execution providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.engine import EngineError
from da3_ros.engines.onnxruntime import CPU_PROVIDER
from da3_ros.engines.sweep import GRAPH, OUTPUTS, SweepShape

MOST = 1 << 23
"""Numbers in one array of a call, at most: about ten of these live at once, 32 MB each."""


class OnnxSweep:
    """See `SweepProgram`. providers: in order of preference; the first one must start, the CPU's is always the last.

    threads: of the CPU's; 0: every core. Raises EngineError.
    """

    def __init__(self, providers: Sequence[str] = (), threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError("ONNX Runtime is not installed: `pip install onnxruntime`") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # As the engine's: spinning workers would burn cores of others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        wanted = [*(name for name in providers if name != CPU_PROVIDER), CPU_PROVIDER]
        try:
            self._session = onnxruntime.InferenceSession(str(GRAPH), options, providers=wanted)
        except Exception as error:
            raise EngineError(f"ONNX Runtime cannot load {GRAPH}: {error}") from error
        active = self._session.get_providers()
        # It drops a provider that cannot start without an error.
        if wanted[0] not in active:
            raise EngineError(f"ONNX Runtime could not start {wanted[0]} for the sweep, only {', '.join(active)}")
        self.backend = f"onnxruntime {wanted[0].removesuffix('ExecutionProvider')}"

    def fit(self, need: SweepShape) -> SweepShape:
        """Any shape will do; many frames are taken some at a time."""
        one = need.others * need.depths * need.height * need.width
        return need._replace(frames=max(1, min(need.frames, MOST // one)))

    def __call__(self, feed: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        try:
            return dict(zip(OUTPUTS, self._session.run(list(OUTPUTS), dict(feed)), strict=True))
        except Exception as error:  # it raises many types without a common base
            raise EngineError(f"ONNX Runtime failed on the sweep: {error}") from error
