# SPDX-License-Identifier: Apache-2.0
"""What a rented machine has: seconds of looking, before minutes are spent on the wrong thing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

WANTED = ("cv2", "lightning_fabric", "moderngl", "numpy", "safetensors", "scipy", "torch", "tqdm", "yaml")
"""Modules without which there is no training (moderngl: no rooms)."""
VENDORS = (
    "/usr/share/glvnd/egl_vendor.d/10_nvidia.json",
    "/etc/glvnd/egl_vendor.d/10_nvidia.json",
    "/usr/local/nvidia/share/glvnd/egl_vendor.d/10_nvidia.json",
)
"""Where a driver says that it renders; in a container the loader may not know all of these places."""
VENDOR_VARIABLE = "__EGL_VENDOR_LIBRARY_FILENAMES"
_PROBE = (
    "import moderngl; c = moderngl.create_standalone_context(backend='egl'); print(c.info['GL_RENDERER'], flush=True);"
    "import os; os._exit(0)"
)
PATIENCE = 15.0
HUNG = f"OpenGL did not answer within {PATIENCE:.0f} s"
SOFTWARE = ("llvmpipe", "softpipe", "swrast")


@dataclass(frozen=True)
class Machine:
    """Cores, GPU, renderer, and what is missing."""

    cores: int
    gpu: str
    """Name, empty where there is none."""
    gpu_bytes: int
    bf16: bool
    renderer: str
    """What OpenGL renders on, empty where nothing does."""
    environment: dict[str, str]
    """Variables that make it render there."""
    missing: tuple[str, ...]
    why: str = ""
    """Why nothing renders."""

    @property
    def renders_on_gpu(self) -> bool:
        """Whether rooms are rendered by hardware."""
        return _hardware(self.renderer)

    @classmethod
    def inspect(cls) -> Machine:
        """Look at this machine; seconds."""
        gpu, size, bf16 = "", 0, False
        if torch.cuda.is_available():
            properties = torch.cuda.get_device_properties(0)
            gpu, size, bf16 = properties.name, properties.total_memory, torch.cuda.is_bf16_supported()
        missing = tuple(name for name in WANTED if importlib.util.find_spec(name) is None)
        renderer, environment, why = _renderer(bool(gpu)) if "moderngl" not in missing else ("", {}, "no moderngl")
        return cls(len(os.sched_getaffinity(0)), gpu, size, bf16, renderer, environment, missing, why)

    def lines(self) -> list[str]:
        """In words."""
        versions = f"Python {sys.version.split()[0]}, PyTorch {torch.__version__}, CUDA {torch.version.cuda or 'none'}"
        if self.renderer:
            where = "the GPU" if self.renders_on_gpu else "the processor"
            rooms = f"rooms are rendered by {where}: {self.renderer}"
        else:
            rooms = f"rooms cannot be rendered: {self.why}"
        return [
            f"{self.cores} cores, {versions}",
            f"GPU: {self.gpu}, {self.gpu_bytes / 2**30:.0f} GiB"
            if self.gpu
            else "no GPU: a rehearsal on the processor",
            rooms,
            f"missing: {', '.join(self.missing)}" if self.missing else "no package is missing",
        ]


def _renderer(gpu: bool) -> tuple[str, dict[str, str], str]:
    """What renders, the variables it takes, and why not; beside a GPU every vendor file is tried."""
    found, why = _probe({})
    if not gpu or _hardware(found) or why == HUNG:
        return found, {}, why
    for path in VENDORS:
        if Path(path).is_file():
            other, _ = _probe({VENDOR_VARIABLE: path})
            if _hardware(other):
                return other, {VENDOR_VARIABLE: path}, ""
    return found, {}, why


def _hardware(renderer: str) -> bool:
    return bool(renderer) and not any(name in renderer.lower() for name in SOFTWARE)


def _probe(variables: dict[str, str]) -> tuple[str, str]:
    """The renderer, in a process of its own, since a broken driver may end its process; and why there is none."""
    environment = {**os.environ, **variables}
    try:
        process = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", HUNG
    said = process.stderr.strip().splitlines()
    return process.stdout.strip(), said[-1] if said and not process.stdout.strip() else ""
