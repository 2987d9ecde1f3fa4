# SPDX-License-Identifier: Apache-2.0
"""Calls of the driver that inference does not need and a proof does: memory that is left, copies, events, a kernel.

They go through `Cuda.call`, so that an error of theirs is the driver layer's, in the driver's words.
"""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from ctypes import c_char_p, c_float, c_size_t, c_uint, c_ulonglong, c_void_p
from pathlib import Path

from da3_ros.engines.cuda import Cuda

KERNEL = b"da3_halve"
PTX = b"""
.version 7.0
.target sm_75
.address_size 64

.visible .entry da3_halve(.param .u64 from, .param .u64 to, .param .u32 count)
{
    .reg .pred %outside;
    .reg .b32 %i, %block, %size, %thread, %n;
    .reg .b64 %source, %target, %offset;
    .reg .f32 %value;

    ld.param.u64 %source, [from];
    ld.param.u64 %target, [to];
    ld.param.u32 %n, [count];
    mov.u32 %block, %ctaid.x;
    mov.u32 %size, %ntid.x;
    mov.u32 %thread, %tid.x;
    mad.lo.s32 %i, %block, %size, %thread;
    setp.ge.u32 %outside, %i, %n;
    @%outside bra done;
    cvta.to.global.u64 %source, %source;
    cvta.to.global.u64 %target, %target;
    mul.wide.u32 %offset, %i, 4;
    add.s64 %source, %source, %offset;
    add.s64 %target, %target, %offset;
    ld.global.f32 %value, [%source];
    fma.rn.f32 %value, %value, 0f3F000000, 0f3F800000;
    st.global.f32 [%target], %value;
done:
    ret;
}
\0"""
"""to = 0.5 * from + 1, in float32, for GPUs from Turing on; the driver compiles it for the one that is there."""
THREADS = 256
_BLOCKING_SYNC = 1  # CU_EVENT_BLOCKING_SYNC


class Probe:
    """Further calls on the context and the stream of `cuda`. Raises CudaError."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda

    def memory(self) -> tuple[int, int]:
        """Bytes of the device that are free, and all of them."""
        free, total = c_size_t(), c_size_t()
        self.cuda.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def taken(self) -> tuple[int, int]:
        """Bytes taken of the device, by anybody, and of the host, by this process."""
        gc.collect()
        with suppress(OSError, AttributeError):  # memory that was freed and is kept would hide what is lost; glibc only
            ctypes.CDLL(None).malloc_trim(0)
        free, total = self.memory()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return total - free, pages * os.sysconf("SC_PAGE_SIZE")

    def current_context(self) -> int:
        """Handle of the calling thread's context, 0 for none."""
        context = c_void_p()
        self.cuda.call("cuCtxGetCurrent", ctypes.byref(context))
        return context.value or 0

    def copy(self, to: int, source: int, nbytes: int, stream: int | None = None) -> None:
        """Queue a copy within the device."""
        where = self.cuda.stream if stream is None else stream
        self.cuda.call("cuMemcpyDtoDAsync_v2", c_ulonglong(to), c_ulonglong(source), c_size_t(nbytes), c_void_p(where))


class Event:
    """A mark on the stream."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda, self._handle = cuda, c_void_p()
        cuda.call("cuEventCreate", ctypes.byref(self._handle), c_uint(_BLOCKING_SYNC))

    def record(self) -> None:
        """Queue the mark."""
        self._cuda.call("cuEventRecord", self._handle, c_void_p(self._cuda.stream))

    def wait(self) -> None:
        """Until everything queued before the mark is done."""
        self._cuda.call("cuEventSynchronize", self._handle)

    def since(self, earlier: Event) -> float:
        """Milliseconds from an earlier mark to this one."""
        out = c_float()
        self._cuda.call("cuEventElapsedTime", ctypes.byref(out), earlier._handle, self._handle)
        return out.value

    def free(self) -> None:
        """Give it back."""
        self._cuda.call("cuEventDestroy_v2", self._handle)


class Kernel:
    """A kernel of our own: to = 0.5 * from + 1."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda, self._module, self._function = cuda, c_void_p(), c_void_p()
        cuda.call("cuModuleLoadData", ctypes.byref(self._module), c_char_p(PTX))
        cuda.call("cuModuleGetFunction", ctypes.byref(self._function), self._module, c_char_p(KERNEL))

    def launch(self, to: int, source: int, count: int, stream: int | None = None) -> None:
        """Queue it on `count` float32 numbers."""
        values = c_ulonglong(source), c_ulonglong(to), c_uint(count)
        pointers = (c_void_p * 3)(*(ctypes.addressof(value) for value in values))
        blocks = (count + THREADS - 1) // THREADS
        where = self._cuda.stream if stream is None else stream
        grid = [c_uint(n) for n in (blocks, 1, 1, THREADS, 1, 1, 0)]
        # The driver has read the parameters when the call returns.
        self._cuda.call("cuLaunchKernel", self._function, *grid, c_void_p(where), pointers, None)

    def free(self) -> None:
        """Give it back."""
        self._cuda.call("cuModuleUnload", self._module)
