# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from da3_ros.engines import EngineError, guard, tensorrt
from da3_ros.engines.cuda import Buffer, Cuda, CudaError


@pytest.fixture(autouse=True)
def _forget():
    guard.find_gpu.cache_clear()
    yield
    guard.find_gpu.cache_clear()


def test_a_gpu_is_described(driver):
    gpu = guard.find_gpu(driver).gpu
    assert (gpu.name, gpu.capability, gpu.multiprocessors, gpu.driver) == ("Pretend GPU", "8.7", 8, 12060)
    assert "compute capability 8.7" in str(gpu)
    assert "CUDA 12.6" in str(gpu)


def test_a_missing_driver_is_named():
    report = guard.find_gpu("libno_such_driver.so.1")
    assert report.gpu is None
    assert "libno_such_driver.so.1" in report.reason


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("INIT", "100", "no CUDA-capable device is detected"),
        ("INIT", "crash", "crashes"),
        ("INIT", "hang", "did not answer"),
        ("COUNT", "0", "sees 0 GPUs"),
    ],
)
def test_a_broken_driver_ends_in_words(driver, monkeypatch, setting, value, words):
    monkeypatch.setenv(f"FAKE_CUDA_{setting}", value)
    monkeypatch.setattr(guard, "TIMEOUT_S", 3.0)
    report = guard.find_gpu(driver)
    assert report.gpu is None
    assert words in report.reason


def test_tensorrt_is_not_imported_without_a_gpu(monkeypatch):
    monkeypatch.setattr(tensorrt, "DRIVER", "libno_such_driver.so.1")
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # an import would raise ImportError
    with pytest.raises(EngineError, match="no NVIDIA driver"):
        tensorrt.Machine.inspect()


def test_a_missing_or_old_tensorrt_is_named(machine, monkeypatch):
    with pytest.raises(EngineError, match=r"8\.6\.2 is too old"):
        machine("8.6.2")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="pip install tensorrt"):
        tensorrt.Machine.inspect()


def test_buffers_go_to_the_device_and_back(driver, leftovers):
    before = leftovers()
    cuda = Cuda(driver)
    buffer = Buffer(cuda, (2, 3), "float32")
    buffer.array[:] = 7
    buffer.upload()
    buffer.array[:] = 0
    buffer.download()
    cuda.synchronize()
    assert (buffer.array == 7).all()
    buffer.free()
    buffer.free()
    cuda.close()
    cuda.close()
    assert leftovers()[:5] == before[:5]


def test_errors_carry_the_words_of_the_driver(driver, monkeypatch, leftovers):
    before = leftovers()
    cuda = Cuda(driver)
    monkeypatch.setenv("FAKE_CUDA_MEMORY", "100")
    with pytest.raises(CudaError, match=r"cuMemAlloc_v2 failed with 2, CUDA_ERROR_OUT_OF_MEMORY"):
        Buffer(cuda, (101,), "uint8")
    cuda.close()
    assert leftovers()[:5] == before[:5]


def test_a_failed_recording_leaves_the_stream_usable(driver, leftovers):
    before = leftovers()
    cuda, graphs = Cuda(driver), []
    with pytest.raises(RuntimeError, match="in between"), cuda.capture(graphs):
        raise RuntimeError("in between")
    assert not graphs
    cuda.synchronize()
    cuda.close()
    assert leftovers()[:5] == before[:5]


def test_an_old_driver_is_named(tmp_path):
    with pytest.raises(CudaError, match=r"older than CUDA 11\.4"):
        Cuda("libm.so.6")
