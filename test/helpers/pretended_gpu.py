# SPDX-License-Identifier: Apache-2.0
"""Fixtures of a machine with a pretended GPU and TensorRT; a conftest imports those that its tests use."""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_tensorrt import make_module

from da3_ros.engines import guard, tensorrt, tensorrt_sweep

SOURCE = Path(__file__).resolve().parent / "fake_libcuda.c"


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """Path of a pretended libcuda.so.1."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("the pretended CUDA driver needs a C compiler")
    path = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", path, SOURCE], check=True)
    return str(path)


@pytest.fixture
def leftovers(driver):
    """Function: device blocks, pinned blocks, streams, graphs, context references; then launches of graphs."""

    def state():
        out = (ctypes.c_int * 6)()
        ctypes.CDLL(driver).fake_state(out)
        return list(out)

    return state


@pytest.fixture
def machine(driver, tmp_path, monkeypatch):
    """Function that puts a pretended GPU and TensorRT in place: machine(version, drift) -> Machine."""
    monkeypatch.setenv("DA3_PLANS", str(tmp_path / "plans"))
    for variable in ("DA3_ENGINE", "DA3_SWEEP"):
        monkeypatch.delenv(variable, raising=False)
    for module in (tensorrt, tensorrt_sweep):
        monkeypatch.setattr(module, "DRIVER", driver)
    guard.find_gpu.cache_clear()

    def put(version="10.3.0", drift=None):
        monkeypatch.setitem(sys.modules, "tensorrt", make_module(driver, version, drift))
        return tensorrt.Machine.inspect()

    yield put
    guard.find_gpu.cache_clear()


@pytest.fixture
def folder(tmp_path):
    """A model with graphs in all precisions."""
    pytest.importorskip("onnx")
    from tiny_model import write_model

    return write_model(tmp_path, ("fp32", "bf16", "fp16"))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 28, 42, 3), dtype=np.uint8)
