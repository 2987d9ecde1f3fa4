# SPDX-License-Identifier: Apache-2.0
"""The proof of the sweep, here on ONNX Runtime's CPU: what it finds is compared, and what is missing is named."""

from needs import needs

needs("onnxruntime", "cv2", "scipy")

import sys

import pytest
from gpu_proof import sweep
from gpu_proof.options import Options

from da3_ros.engines.onnx_sweep import OnnxSweep

QUICK = Options(device="cpu", quick=True)


def test_the_graph_is_compared_with_the_cpu_code(outcomes, monkeypatch):
    found = outcomes(sweep, QUICK)
    check = found[sweep.ONNX]
    assert check.state == "passed", check.message
    assert check.values["backend"] == "onnxruntime CPU"
    assert check.values["alike"] > 0.98
    assert check.values["graph_ms"] > 0
    assert check.values["cpu_ms"] > 0
    assert "ms a view, the CPU code" in check.message
    assert found[sweep.TENSORRT].state == "missing"
    assert "a rehearsal has no GPU" in found[sweep.TENSORRT].message
    run = OnnxSweep.__call__
    monkeypatch.setattr(OnnxSweep, "__call__", lambda self, feed: {k: 1.02 * v for k, v in run(self, feed).items()})
    check = outcomes(sweep, QUICK)[sweep.ONNX]
    assert check.state == "failed"
    assert "allowed are 98% and 0.005" in check.message


def test_what_is_missing_is_named(outcomes, monkeypatch):
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    found = outcomes(sweep, Options(quick=True))
    assert "lacks CUDAExecutionProvider: pip install onnxruntime-gpu" in found[sweep.ONNX].message
    assert "pip install tensorrt" in found[sweep.TENSORRT].message
    assert {check.state for check in found.values()} == {"missing"}
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert "pip install scipy" in outcomes(sweep, QUICK)[sweep.ONNX].message


def test_a_quiet_fall_back_to_the_cpu_is_a_failure(outcomes, monkeypatch):
    runtime = pytest.importorskip("onnxruntime")
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(runtime, "get_available_providers", lambda: available)
    check = outcomes(sweep, Options(quick=True))[sweep.ONNX]
    assert check.state == "failed"
    assert "could not start CUDAExecutionProvider" in check.message


def test_tensorrt_builds_its_plan_and_runs_it(outcomes, machine, monkeypatch):
    """On the pretended GPU, as on a real one."""
    pretended = machine()
    monkeypatch.setattr("da3_ros.engines.tensorrt.Machine.inspect", lambda: pretended)
    check = outcomes(sweep, Options(quick=True))[sweep.TENSORRT]
    assert check.state == "passed", check.message
    assert check.values["backend"] == "TensorRT 10.3.0 Pretend GPU"
