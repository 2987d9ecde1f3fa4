# SPDX-License-Identifier: Apache-2.0
"""Part 1: what this ran on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from da3_ros.engines.guard import find_gpu
from gpu_proof.checks import Journal, Missing, demand
from gpu_proof.options import ROOT, Options

PACKAGES = ("torch", "numpy", "scipy", "triton", "safetensors", "array-api-compat", "onnx", "onnxruntime",
            "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "opencv-python-headless")  # fmt: skip
GPU, COMPUTER, TORCH = "GPU, as its driver sees it", "computer", "GPU, as PyTorch sees it"


def plan(options: Options) -> list[str]:
    """Names of the checks."""
    return [COMPUTER, GPU, TORCH]


def prove(options: Options, journal: Journal) -> None:
    """Say what is here, and that the driver and PyTorch speak of the same GPU."""
    with journal.check(COMPUTER) as found:
        found.update(computer())
        found["says"] = f"{found['cores']} cores, {found['processor']}, Python {found['python']}"
    report = find_gpu(options.driver)
    with journal.check(GPU) as found:
        if report.gpu is None:
            raise Missing(report.reason)
        gpu = report.gpu
        found.update(name=gpu.name, capability=gpu.capability, multiprocessors=gpu.multiprocessors)
        found.update(memory_bytes=gpu.memory_bytes, cuda_of_driver=gpu.driver, kernel_module=kernel_module())
        found["says"] = str(gpu)
    with journal.check(TORCH) as found:
        if options.rehearsal:
            raise Missing("a rehearsal does not ask it")
        torch = torch_with_cuda()
        seen = torch.cuda.get_device_properties(0)
        found.update(torch=torch.__version__, cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version())
        found.update(name=seen.name, capability=f"{seen.major}.{seen.minor}", memory_bytes=seen.total_memory)
        demand(report.gpu is not None, f"PyTorch finds {seen.name}, the driver layer finds nothing: {report.reason}")
        assert report.gpu is not None
        ours = (report.gpu.name, report.gpu.capability, report.gpu.multiprocessors)
        theirs = (seen.name, found["capability"], seen.multi_processor_count)
        demand(ours == theirs, f"the driver layer finds {ours}, PyTorch {theirs}")
        found["says"] = f"PyTorch {torch.__version__} for CUDA {torch.version.cuda}"


def torch_with_cuda() -> Any:
    """PyTorch with a GPU. Raises Missing where it is not installed or was built without CUDA, and Failure where it has
    CUDA and finds no GPU.
    """
    try:
        import torch
    except ImportError as error:
        raise Missing(f"PyTorch is not installed ({error})") from error
    if torch.version.cuda is None:
        raise Missing(f"PyTorch {torch.__version__} was built without CUDA: install one for it from pytorch.org")
    demand(torch.cuda.is_available(), f"PyTorch for CUDA {torch.version.cuda} finds no GPU, though the driver does")
    return torch


def computer() -> dict[str, str | int]:
    """Processor, system, versions, commit."""
    found: dict[str, str | int] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def kernel_module() -> str:
    """Version of NVIDIA's kernel module, ``unknown`` where the system does not show it."""
    path = Path("/proc/driver/nvidia/version")
    try:
        words = path.read_text().splitlines()[0].split("Kernel Module")[-1].split()
    except (OSError, IndexError):
        return "unknown"
    return next((word for word in words if word[:1].isdigit()), "unknown")
