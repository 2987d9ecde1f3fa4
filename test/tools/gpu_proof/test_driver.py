# SPDX-License-Identifier: Apache-2.0
"""The proof of the driver layer, on the pretended driver: it passes, and it finds what is broken on purpose."""

import logging
import shutil
import subprocess
from pathlib import Path

import pytest
from gpu_proof import driver as part
from gpu_proof import programs
from gpu_proof.options import DRIVER as DEFAULT
from gpu_proof.options import Options
from gpu_proof.probe import PTX

from da3_ros.engines.cuda import Buffer, Graph
from da3_ros.engines.guard import DRIVER

RUNS, PROGRAMS = "10000 runs", "200 programs, made and closed"


@pytest.fixture
def options(driver):
    return Options(device="cpu", driver=driver)


@pytest.fixture
def small(monkeypatch):
    """Less is copied, to the same effect: one image in place of four, 1 MiB in place of 64."""
    monkeypatch.setattr(part, "COPIED", part.MEBI)
    monkeypatch.setattr(programs, "LARGE", (1, *programs.LARGE[1:]))


@pytest.fixture
def brief(small, monkeypatch):
    """In addition a tenth of the runs, where what is found does not depend on their number."""
    monkeypatch.setattr(programs, "RUNS", programs.RUNS // 10)


def failed(found):
    return {name: check.message for name, check in found.items() if check.state == "failed"}


def test_all_passes_but_what_needs_pytorch_on_a_gpu(outcomes, options):
    found = outcomes(part, options)
    assert {name for name, check in found.items() if check.state != "passed"} == {"context beside PyTorch's"}
    assert found["context beside PyTorch's"].message == "a rehearsal has no context of PyTorch's"
    assert found[RUNS].values["device_growth"] == 0
    assert found["a program: first calls"].values["kernel"]
    assert "CUDA_ERROR_OUT_OF_MEMORY: out of memory" in found["calls that fail"].message
    assert "capturing" in found["a recording that fails"].message
    assert not logging.getLogger("da3_ros.engines.program").handlers


def test_a_leak_of_device_memory_is_found(outcomes, options, small, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_LEAK_DEVICE", "256")
    found = failed(outcomes(part, options))
    assert set(found) == {RUNS}
    assert "the device's memory has grown by 2560000 bytes" in found[RUNS]


def test_a_leak_of_host_memory_is_found(outcomes, options, small, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_LEAK_HOST", "4096")
    found = failed(outcomes(part, options))
    assert set(found) == {RUNS}
    assert "the host's memory has grown by" in found[RUNS]


def test_buffers_that_are_not_given_back_are_found(outcomes, options, brief, monkeypatch):
    monkeypatch.setattr(Buffer, "free", lambda self: None)
    found = failed(outcomes(part, options))
    assert "are not given back" in found["a program: what it refuses"]
    assert "the device's memory has grown" in found[PROGRAMS]


def test_a_wrong_copy_is_found(outcomes, options, brief, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_WRONG_COPY", "1")
    found = failed(outcomes(part, options))
    assert found["a graph, recorded and replayed"] == "launch 1 did not copy the new content"
    assert "call 1: 1 of 423360 elements of same are wrong" in found["a program: first calls"]
    assert f"run 1 of {programs.RUNS}: 1 of 7056 elements of same are wrong" in found[RUNS]
    assert "the last event" in found["events around copies"]
    assert "pinned buffers, there and back" not in found


def test_one_wrong_run_in_thousands_is_found(outcomes, options, small, monkeypatch):
    run, calls = programs.Program.run, []

    def wrong_once(self, feed):
        outputs = run(self, feed)
        calls.append(1)
        if len(calls) == 9000:
            outputs["halved"].flat[7] += 1
        return outputs

    monkeypatch.setattr(programs.Program, "run", wrong_once)
    found = failed(outcomes(part, options))
    assert list(found) == [RUNS]
    assert "1 of 7056 elements of halved are wrong" in found[RUNS]


@pytest.mark.parametrize(
    ("fault", "checks"),
    [
        ("EAGER_CAPTURE", {"a graph, recorded and replayed": "work was done while it was recorded"}),
        (
            "LOST_UPLOAD",
            {
                "a graph, recorded and replayed": "did not copy the new content",
                "a program from a second thread": "are wrong",
            },
        ),
        (
            "NO_CAPTURE",
            {
                "a program: first calls": "10 calls asked the engine 10 times: nothing was recorded",
                "two threads, two streams": "the program said: no CUDA graph for this shape",
            },
        ),
    ],
)
def test_faults_of_recordings_are_found(outcomes, options, brief, monkeypatch, fault, checks):
    monkeypatch.setenv(f"FAKE_CUDA_{fault}", "1")
    found = failed(outcomes(part, options))
    for check, words in checks.items():
        assert words in found[check]


def test_errors_must_be_the_layers_own(outcomes, options, brief, monkeypatch):
    def silent(self, name, *arguments):
        getattr(self._library, name)(*arguments)

    monkeypatch.setattr(part.Cuda, "call", silent)
    found = failed(outcomes(part, options))
    assert "was expected to fail, and did not" in found["calls that fail"]
    assert "was expected to fail, and did not" in found["a recording that fails"]


def test_a_check_that_raises_does_not_stop_the_others(outcomes, options, brief, monkeypatch):
    def broken(self):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(Graph, "launch", broken)
    found = outcomes(part, options)
    assert found["a graph, recorded and replayed"].message == "ZeroDivisionError: on purpose"
    assert found[RUNS].message == "ZeroDivisionError: on purpose"
    assert found["everything closed"].state == "passed"


def test_without_a_driver_each_check_says_what_is_missing(outcomes):
    found = outcomes(part, Options(device="cpu", driver="libno-such.so.1"))
    assert {check.state for check in found.values()} == {"missing"}
    assert "no NVIDIA driver: libno-such.so.1 is not found" in found[RUNS].message


def test_the_driver_asked_for_is_the_engines():
    assert DEFAULT == DRIVER
    assert not Options().rehearsal
    assert Options(driver="/elsewhere/libcuda.so.1").rehearsal
    assert Options(device="cpu").rehearsal


def test_the_kernel_is_one(tmp_path):
    assembler = shutil.which("ptxas")
    if assembler is None:
        pytest.skip("ptxas of the CUDA toolkit is not here")
    (tmp_path / "kernel.ptx").write_bytes(PTX.rstrip(b"\0"))
    subprocess.run([assembler, "-arch=sm_90", tmp_path / "kernel.ptx", "-o", tmp_path / "kernel"], check=True)


def test_the_pretended_driver_has_the_signatures_of_the_real_one(driver):
    headers = sorted(Path("/usr/local").glob("cuda*/include/cuda.h"))
    if not headers:
        pytest.skip("cuda.h of the CUDA toolkit is not here")
    source = Path(__file__).resolve().parents[2] / "helpers" / "fake_libcuda.c"
    flags = ["-fsyntax-only", "-Wall", "-Werror", "-DCHECK_AGAINST_CUDA_H", f"-I{headers[-1].parent}"]
    subprocess.run([shutil.which("cc") or "gcc", *flags, source], check=True)
