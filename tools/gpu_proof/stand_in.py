# SPDX-License-Identifier: Apache-2.0
"""In TensorRT's place: an engine whose work is three copies within the device and a kernel, on the stream it is given.

It has what `da3_ros.engines.program.Program` asks of TensorRT and nothing else; the driver beneath it is the real one.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.cuda import CudaError
from gpu_proof.probe import Kernel, Probe


class DataType(enum.Enum):
    """Those that a program handles, and one that it does not."""

    UINT8, FLOAT, HALF, INT32 = range(4)


class TensorIOMode(enum.Enum):
    """As in TensorRT."""

    NONE, INPUT, OUTPUT = range(3)


class ExecutionContextAllocationStrategy(enum.Enum):
    """As in TensorRT."""

    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)


TRT = types.SimpleNamespace(
    DataType=DataType,
    TensorIOMode=TensorIOMode,
    ExecutionContextAllocationStrategy=ExecutionContextAllocationStrategy,
)
"""The module."""
INPUTS = {"images": DataType.UINT8, "numbers": DataType.FLOAT}
OUTPUTS = {"copied": DataType.UINT8, "same": DataType.FLOAT, "halved": DataType.FLOAT}


class Log:
    """The logger, as `da3_ros.engines.tensorrt.make_logger` makes it."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def last_errors(self) -> str:
        """A text for messages."""
        return "; ".join(self.errors) or "it gave no reason"


class Engine:
    """Copies images through the workspace and numbers directly, and halves the numbers by a kernel where it has one.

    calls: how often it was asked to run; a recorded call asks once and is launched often. Set `fails` to make it
    refuse.
    """

    num_optimization_profiles = 1

    def __init__(
        self, probe: Probe, kernel: Kernel | None, shape: tuple[int, ...], types: Mapping[str, DataType] | None = None
    ) -> None:
        self.probe, self.kernel, self.shape = probe, kernel, shape
        self.log, self.calls, self.fails = Log(), 0, False
        outputs = OUTPUTS if kernel else {name: kind for name, kind in OUTPUTS.items() if name != "halved"}
        self._types = {**INPUTS, **outputs, **(types or {})}
        self.num_io_tensors = len(self._types)

    @property
    def workspace_bytes(self) -> int:
        """What it needs for its activations."""
        return int(np.prod(self.shape))

    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the inputs by name."""
        return dict.fromkeys(INPUTS, self.shape)

    def feed(self, generator: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Inputs with random content."""
        images = generator.integers(0, 256, self.shape, dtype=np.uint8)
        return {"images": images, "numbers": generator.random(self.shape, dtype=np.float32) - 0.5}

    def expected(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs to the last bit."""
        out = {"copied": feed["images"], "same": feed["numbers"]}
        if self.kernel:
            out["halved"] = feed["numbers"] * np.float32(0.5) + np.float32(1)
        return out

    def get_tensor_name(self, index: int) -> str:
        """Inputs first."""
        return list(self._types)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        """Whether it is an input."""
        return TensorIOMode.INPUT if name in INPUTS else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        """Type of its elements."""
        return self._types[name]

    def create_execution_context(self, strategy: ExecutionContextAllocationStrategy) -> Context:
        """Memory for activations is the caller's."""
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        return Context(self)


class Context:
    """An execution context."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._workspace = (0, 0)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """There is one."""
        return profile_index == 0 and stream_handle != 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Only its own shape is taken."""
        if tuple(shape) != self._engine.shape:
            self._engine.log.errors.append(f"{name}: {tuple(shape)} is out of the profile")
            return False
        self._shapes[name] = tuple(shape)
        return True

    def infer_shapes(self) -> list[str]:
        """Names of inputs that lack a shape."""
        return [name for name in INPUTS if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """All tensors have one shape."""
        return self._engine.shape

    def set_device_memory(self, memory: int, size: int) -> None:
        """Address and bytes for activations."""
        self._workspace = (memory, size)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Device address of a tensor; like TensorRT it wants 256 bytes of alignment."""
        self._addresses[name] = memory
        return memory % 256 == 0

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue the work; False, and words in the log, where that fails."""
        engine, at = self._engine, self._addresses
        engine.calls += 1
        if engine.fails or self._workspace[1] < engine.workspace_bytes:
            engine.log.errors.append("told to fail" if engine.fails else "no room for the activations")
            return False
        count = engine.workspace_bytes
        try:
            engine.probe.copy(self._workspace[0], at["images"], count, stream_handle)
            engine.probe.copy(at["copied"], self._workspace[0], count, stream_handle)
            engine.probe.copy(at["same"], at["numbers"], 4 * count, stream_handle)
            if engine.kernel:
                engine.kernel.launch(at["halved"], at["numbers"], count, stream_handle)
        except CudaError as error:
            engine.log.errors.append(str(error))
            return False
        return True
