# SPDX-License-Identifier: Apache-2.0
"""The little of CUDA that inference needs: memory, one stream, graphs.

Speaks to the driver (``libcuda.so.1``) and to nothing else: it is wherever a GPU works, on a Jetson too, its C
interface is stable across CUDA 11.4 to 13, and no library of a certain CUDA version must be installed beside TensorRT's
own. Signatures and suffixes of symbols are those of cuda.h. TensorRT uses the device's primary context; so do we.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from da3_ros.engines.engine import EngineError
from da3_ros.engines.guard import DRIVER

_BLOCKING_SYNC = 0x04  # CU_CTX_SCHED_BLOCKING_SYNC
_NON_BLOCKING = 0x01  # CU_STREAM_NON_BLOCKING
_CAPTURE_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL

_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDevicePrimaryCtxSetFlags_v2": (c_int, c_uint),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuDevicePrimaryCtxRelease_v2": (c_int,),
    "cuCtxSetCurrent": (c_void_p,),
    "cuMemAlloc_v2": (POINTER(c_ulonglong), c_size_t),
    "cuMemFree_v2": (c_ulonglong,),
    "cuMemHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuMemcpyHtoDAsync_v2": (c_ulonglong, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_ulonglong, c_size_t, c_void_p),
    "cuStreamCreate": (POINTER(c_void_p), c_uint),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cuGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphExecDestroy": (c_void_p,),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
}


class CudaError(EngineError):
    """A call of the driver failed."""


class Buffer:
    """One tensor: a pinned array of the host and a block of the device of the same size."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._cuda = cuda
        self.nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        host = c_void_p()
        cuda.call("cuMemHostAlloc", ctypes.byref(host), self.nbytes, 0)
        self._host: int | None = host.value
        assert self._host is not None
        raw = memoryview((ctypes.c_uint8 * self.nbytes).from_address(self._host)).cast("B")
        self.array: NDArray[Any] = np.frombuffer(raw, dtype=dtype).reshape(shape)
        """The host's side."""
        try:
            self.device = cuda.allocate(self.nbytes)
        except CudaError:
            cuda.call("cuMemFreeHost", self._host)
            raise

    def upload(self) -> None:
        """Queue the copy to the device."""
        self._cuda.call("cuMemcpyHtoDAsync_v2", self.device, self._host, self.nbytes, self._cuda.stream)

    def download(self) -> None:
        """Queue the copy to the host."""
        self._cuda.call("cuMemcpyDtoHAsync_v2", self._host, self.device, self.nbytes, self._cuda.stream)

    def free(self) -> None:
        """Give both sides back; `array` must not be used any more."""
        if self._host is not None:
            self._cuda.call("cuMemFree_v2", self.device)
            self._cuda.call("cuMemFreeHost", self._host)
            self._host = None


class Graph:
    """Recorded work that one call starts again, on the same addresses."""

    def __init__(self, cuda: Cuda, handle: int) -> None:
        self._cuda, self._handle = cuda, handle

    def launch(self) -> None:
        """Queue the recorded work."""
        self._cuda.call("cuGraphLaunch", self._handle, self._cuda.stream)

    def free(self) -> None:
        """Give the recording back."""
        self._cuda.call("cuGraphExecDestroy", self._handle)


class Cuda:
    """The primary context of one GPU, and one stream of our own. Ask `guard.find_gpu` first.

    Raises CudaError, here and in every method, with the driver's own words.
    """

    def __init__(self, driver: str = DRIVER, device: int = 0) -> None:
        try:
            self._library = ctypes.CDLL(driver)
            for name, arguments in _SIGNATURES.items():
                function = getattr(self._library, name)
                function.argtypes, function.restype = arguments, c_int
        except (OSError, AttributeError) as error:
            raise CudaError(f"the NVIDIA driver is missing or older than CUDA 11.4: {error}") from error
        self._device, context, stream = c_int(), c_void_p(), c_void_p()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(self._device), device)
        # A waiting thread shall sleep: the robot needs the core. Refused where someone else already runs the context.
        with suppress(CudaError):
            self.call("cuDevicePrimaryCtxSetFlags_v2", self._device, _BLOCKING_SYNC)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._context = context.value
        self.use()
        self.call("cuStreamCreate", ctypes.byref(stream), _NON_BLOCKING)
        self.stream = int(stream.value or 0)
        self._closed = False

    def call(self, name: str, *arguments: Any) -> None:
        """Call the driver; raises CudaError when it returns an error."""
        code = getattr(self._library, name)(*arguments)
        if code:
            words = []
            for describe in ("cuGetErrorName", "cuGetErrorString"):
                text = c_char_p()
                getattr(self._library, describe)(code, ctypes.byref(text))
                words.append((text.value or b"unknown").decode(errors="replace"))
            raise CudaError(f"{name} failed with {code}, {words[0]}: {words[1]}")

    def use(self) -> None:
        """Make the context current on the calling thread; each thread needs that before other calls."""
        self.call("cuCtxSetCurrent", self._context)

    def allocate(self, nbytes: int) -> int:
        """Address of `nbytes` of device memory, aligned to 256 bytes."""
        address = c_ulonglong()
        self.call("cuMemAlloc_v2", ctypes.byref(address), nbytes)
        return address.value

    def free(self, address: int) -> None:
        """Give device memory back."""
        self.call("cuMemFree_v2", address)

    def synchronize(self) -> None:
        """Wait until everything queued on the stream is done."""
        self.call("cuStreamSynchronize", self.stream)

    @contextmanager
    def capture(self, out: list[Graph]) -> Iterator[None]:
        """Record the work queued inside instead of doing it; the recording is appended to `out`.

        Raises CudaError when something inside cannot be recorded; the stream is usable afterwards.
        """
        self.call("cuStreamBeginCapture_v2", self.stream, _CAPTURE_THREAD_LOCAL)
        graph = c_void_p()
        try:
            yield
        except BaseException:
            with suppress(CudaError):  # the recording is void: what went wrong inside is what matters
                self.call("cuStreamEndCapture", self.stream, ctypes.byref(graph))
                self.call("cuGraphDestroy", graph)
            raise
        self.call("cuStreamEndCapture", self.stream, ctypes.byref(graph))
        executable = c_void_p()
        try:
            self.call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, 0)
        finally:
            self.call("cuGraphDestroy", graph)
        out.append(Graph(self, int(executable.value or 0)))

    def close(self) -> None:
        """Destroy the stream and let go of the context."""
        if not self._closed:
            self._closed = True
            self.call("cuStreamDestroy_v2", self.stream)
            self.call("cuDevicePrimaryCtxRelease_v2", self._device)
