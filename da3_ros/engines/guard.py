# SPDX-License-Identifier: Apache-2.0
"""Is there an NVIDIA GPU with a working driver? Asked without risk, before TensorRT is touched.

TensorRT's own objects end the process with a segmentation fault where the driver is missing, and a broken driver can
hang in its first call. So the driver is asked by another process: this file, run as a script, standard library only.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache

DRIVER = "libcuda.so.1"
TIMEOUT_S = 60.0
"""A first call that powers the GPU up takes seconds."""

# cuda.h: CUdevice_attribute
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76


@dataclass(frozen=True)
class Gpu:
    """What a plan depends on."""

    name: str
    major: int
    minor: int
    """Compute capability major.minor."""
    multiprocessors: int
    """Modules of one family carry the same name ("Orin") and differ in this."""
    memory_bytes: int
    driver: int
    """CUDA version of the driver, 1000 * major + 10 * minor."""

    @property
    def capability(self) -> str:
        """Compute capability, for example ``8.7``."""
        return f"{self.major}.{self.minor}"

    def __str__(self) -> str:
        return (
            f"{self.name}, compute capability {self.capability}, {self.multiprocessors} multiprocessors, "
            f"{self.memory_bytes / 2**30:.1f} GiB, CUDA {self.driver // 1000}.{self.driver % 1000 // 10} driver"
        )


@dataclass(frozen=True)
class GpuReport:
    """A GPU, or the reason why there is none."""

    gpu: Gpu | None
    reason: str


@lru_cache(maxsize=8)
def find_gpu(driver: str = DRIVER, device: int = 0) -> GpuReport:
    """Look for GPU number `device`; never raises, never crashes. Takes about 0.1 s, then it is remembered.

    driver: library of the CUDA driver, a name or a path.
    """
    try:
        ctypes.CDLL(driver)
    except OSError:
        return GpuReport(None, f"no NVIDIA driver: {driver} is not found (install the driver, or JetPack on a Jetson)")
    try:
        done = subprocess.run(
            [sys.executable, "-I", __file__, driver, str(device)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return GpuReport(None, f"the NVIDIA driver did not answer within {TIMEOUT_S:.0f} s: look at `dmesg`, reboot")
    except OSError as error:
        return GpuReport(None, f"the NVIDIA driver could not be asked: {error}")
    return _report(done)


def _report(done: subprocess.CompletedProcess[str]) -> GpuReport:
    if done.returncode < 0:
        return GpuReport(None, f"the NVIDIA driver crashes (signal {-done.returncode}): reinstall it")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or ["no output"]
        return GpuReport(None, f"the NVIDIA driver could not be asked: {last[0]}")
    if "problem" in answer:
        return GpuReport(None, answer["problem"])
    gpu = Gpu(**answer)
    return GpuReport(gpu, f"found {gpu}")


def _ask(driver: str, device: int) -> dict[str, str | int]:
    """Runs in the other process."""
    cuda = ctypes.CDLL(driver)
    version = ctypes.c_int()
    code = cuda.cuInit(0)
    if code:
        return {"problem": f"the NVIDIA driver does not start: cuInit returned {code} ({_error(cuda, code)})"}
    cuda.cuDriverGetVersion(ctypes.byref(version))
    count = ctypes.c_int()
    code = cuda.cuDeviceGetCount(ctypes.byref(count))
    if code or count.value <= device:
        return {"problem": f"the NVIDIA driver sees {count.value} GPUs, number {device} is wanted"}
    handle, name, memory = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
    code = cuda.cuDeviceGet(ctypes.byref(handle), device)
    code = code or cuda.cuDeviceGetName(name, len(name), handle)
    code = code or cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    values = []
    for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS):
        value = ctypes.c_int()
        code = code or cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
        values.append(value.value)
    if code:
        return {"problem": f"GPU {device} does not answer: error {code} ({_error(cuda, code)})"}
    return {
        "name": name.value.decode(errors="replace"),
        "major": values[0],
        "minor": values[1],
        "multiprocessors": values[2],
        "memory_bytes": memory.value,
        "driver": version.value,
    }


def _error(cuda: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    cuda.cuGetErrorString(code, ctypes.byref(text))
    return (text.value or b"unknown").decode(errors="replace")


if __name__ == "__main__":
    print(json.dumps(_ask(sys.argv[1], int(sys.argv[2]))))
