# SPDX-License-Identifier: Apache-2.0
"""One input shape of a TensorRT engine, ready to run: context, buffers and a CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.cuda import Buffer, Cuda, CudaError, Graph
from da3_ros.engines.engine import EngineError

log = logging.getLogger(__name__)


class Program:
    """Execution of `engine` with one optimisation profile and fixed input shapes.

    workspace: address and size of the device memory for activations, shared with other programs of the same stream.
    The calling thread must have made `cuda` its own. Raises EngineError when shapes or memory do not fit.
    """

    def __init__(
        self,
        trt: Any,
        cuda: Cuda,
        engine: Any,
        profile_index: int,
        shapes: Mapping[str, tuple[int, ...]],
        workspace: tuple[int, int],
        logger: Any,
    ) -> None:
        self._trt, self._cuda, self._logger = trt, cuda, logger
        self._inputs: dict[str, Buffer] = {}
        self._outputs: dict[str, Buffer] = {}
        self._graphs: list[Graph] = []
        self._warm = False
        context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise EngineError(f"TensorRT cannot make an execution context: {logger.last_errors()}")
        self._context = context
        try:
            self._prepare(engine, profile_index, shapes, workspace)
        except BaseException:
            self.close()
            raise

    def _prepare(
        self, engine: Any, profile_index: int, shapes: Mapping[str, tuple[int, ...]], workspace: tuple[int, int]
    ) -> None:
        trt, cuda, context, logger = self._trt, self._cuda, self._context, self._logger
        if profile_index >= engine.num_optimization_profiles:
            raise EngineError(
                f"the plan's header names profile {profile_index}, the engine has {engine.num_optimization_profiles}"
            )
        if not context.set_optimization_profile_async(profile_index, cuda.stream):
            raise EngineError(f"TensorRT cannot switch to profile {profile_index}: {logger.last_errors()}")
        cuda.synchronize()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        if set(inputs) != set(shapes):
            raise EngineError(f"the engine takes {sorted(inputs)}, expected {sorted(shapes)}: build the plan again")
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise EngineError(f"TensorRT refuses {name} of shape {shape}: {logger.last_errors()}")
        missing = context.infer_shapes()
        if missing:
            raise EngineError(f"TensorRT cannot infer the output shapes, it lacks {', '.join(missing)}")
        if workspace[1]:
            # After the profile and the shapes, in trtexec's order.
            context.set_device_memory(workspace[0], workspace[1])
        for name in names:
            # Shapes are read back: what the network makes of an input is its own business.
            shape = tuple(int(n) for n in context.get_tensor_shape(name))
            if min(shape, default=1) < 0:
                raise EngineError(f"the shape of {name} is still open: {shape}")
            buffer = Buffer(cuda, shape, self._dtype(engine, name))
            (self._inputs if name in shapes else self._outputs)[name] = buffer
            if not context.set_tensor_address(name, buffer.device):
                raise EngineError(f"TensorRT refuses the buffer of {name}: {logger.last_errors()}")

    def _dtype(self, engine: Any, name: str) -> np.dtype[Any]:
        trt = self._trt
        known = {trt.DataType.UINT8: np.uint8, trt.DataType.FLOAT: np.float32, trt.DataType.HALF: np.float16}
        found = engine.get_tensor_dtype(name)
        if found not in known:
            raise EngineError(f"{name} is of type {found}; uint8, float32 and float16 are handled: export again")
        return np.dtype(known[found])

    def run(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name, in pinned memory that the next call overwrites."""
        for name, buffer in self._inputs.items():
            np.copyto(buffer.array, feed[name], casting="same_kind")
        if self._graphs:
            self._graphs[0].launch()
        else:
            self._enqueue()
        self._cuda.synchronize()
        if not self._warm:
            # The first call lets TensorRT set itself up, which cannot be recorded; from now on nothing changes.
            self._warm = True
            self._record()
        return {name: buffer.array for name, buffer in self._outputs.items()}

    def _enqueue(self) -> None:
        for buffer in self._inputs.values():
            buffer.upload()
        if not self._context.execute_async_v3(self._cuda.stream):
            raise EngineError(f"TensorRT failed to run: {self._logger.last_errors()}")
        for buffer in self._outputs.values():
            buffer.download()

    def _record(self) -> None:
        """One launch for the whole call instead of hundreds; where that cannot be had, calls go on one by one."""
        try:
            with self._cuda.capture(self._graphs):
                self._enqueue()
        except (CudaError, EngineError) as error:
            log.warning("no CUDA graph for this shape, kernels are launched one by one: %s", error)

    def close(self) -> None:
        """Free graph and buffers; the context must not run any more."""
        for graph in self._graphs:
            graph.free()
        self._graphs.clear()
        self._context = None
        for buffer in (*self._inputs.values(), *self._outputs.values()):
            buffer.free()
        self._inputs.clear()
        self._outputs.clear()
