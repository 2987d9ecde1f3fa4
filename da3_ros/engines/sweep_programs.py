# SPDX-License-Identifier: Apache-2.0
"""Which program can run the plane sweep here: that of the GPU which runs the network, or any."""

from __future__ import annotations

from da3_ros.engines.engine import Engine, EngineError
from da3_ros.engines.onnx_sweep import OnnxSweep
from da3_ros.engines.onnxruntime import GPU_PROVIDERS, OnnxRuntimeEngine, reaches_gpu
from da3_ros.engines.sweep import SweepProgram
from da3_ros.engines.tensorrt import Machine, TensorRTEngine
from da3_ros.engines.tensorrt_sweep import TensorRTSweep

PROVIDER = "CUDAExecutionProvider"
"""ONNX Runtime's other one for a GPU builds an engine at the first call of every shape, which takes minutes."""


def sweep_beside(engine: Engine) -> tuple[SweepProgram | None, str]:
    """The program on the GPU that runs the network, or None; and why."""
    reasons = []
    if isinstance(engine, TensorRTEngine):
        shapes = [shape for shape in engine.shapes if shape.views > 1]
        if not shapes:
            return None, f"the plans of {engine.info.model} are for one view, which has nothing to be compared with"
        try:
            return TensorRTSweep.from_plans(engine.machine, shapes), "a plan fits"
        except EngineError as error:
            reasons.append(str(error))
    elif not (isinstance(engine, OnnxRuntimeEngine) and set(engine.providers) & set(GPU_PROVIDERS)):
        return None, f"no GPU runs the network ({engine.info.backend})"
    try:
        if reaches_gpu():
            return OnnxSweep([PROVIDER]), f"{PROVIDER} starts"
        reasons.append("ONNX Runtime has no provider for the GPU")
    except EngineError as error:
        reasons.append(str(error))
    return None, "; ".join(reasons)


def any_sweep() -> SweepProgram:
    """The best program of this machine, whatever runs the network: the CPU's of ONNX Runtime, at last. Raises
    EngineError where not even that is there.
    """
    try:
        return TensorRTSweep.from_plans(Machine.inspect(), ())
    except EngineError:
        pass
    try:
        if reaches_gpu():
            return OnnxSweep([PROVIDER])
    except EngineError:
        pass
    return OnnxSweep()
