# SPDX-License-Identifier: Apache-2.0
"""Which program runs the sweep: that of the GPU which runs the network, or none."""

from needs import needs

needs("onnx")

import pytest
from tiny_model import write_model

from da3_ros.engines import EngineError, load_engine, sweep_programs
from da3_ros.engines.onnxruntime import OnnxRuntimeEngine
from da3_ros.engines.plan import Shape
from da3_ros.engines.sweep_programs import any_sweep, sweep_beside
from da3_ros.engines.tensorrt import TensorRTEngine
from da3_ros.engines.tensorrt_sweep import TensorRTSweep
from da3_ros.export.build import BuildOptions
from da3_ros.export.ladder import LadderOptions, build_model
from da3_ros.export.sweep_plan import build_sweep

SHAPES = (Shape(1, 98, 126), Shape(2, 98, 126))


class Opened:
    """Stands for an OnnxSweep with a provider that this machine lacks."""

    backend = "onnxruntime CUDA"

    def __init__(self, providers=()):
        self.providers = list(providers)


@pytest.fixture
def gpu_provider(monkeypatch):
    monkeypatch.setattr(sweep_programs, "reaches_gpu", lambda: True)
    monkeypatch.setattr(sweep_programs, "OnnxSweep", Opened)


def on_tensorrt(machine, folder, shapes=SHAPES):
    here = machine()
    build_model(folder, here, LadderOptions(shapes), print)
    engine = load_engine(folder)
    assert isinstance(engine, TensorRTEngine)
    return here, engine


def test_without_a_gpu_there_is_none(tmp_path):
    program, why = sweep_beside(OnnxRuntimeEngine(write_model(tmp_path, ("fp32",))))
    assert program is None
    assert why.startswith("no GPU runs the network (onnxruntime ")


def test_a_gpu_that_does_not_run_the_network_is_left_alone(tmp_path, gpu_provider):
    assert sweep_beside(OnnxRuntimeEngine(write_model(tmp_path, ("fp32",))))[0] is None


@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "TensorrtExecutionProvider"])
def test_onnx_runtime_on_a_gpu_runs_it_by_cuda(tmp_path, gpu_provider, provider):
    """Its TensorRT would build an engine for minutes at every new number of depths."""
    engine = OnnxRuntimeEngine(write_model(tmp_path, ("fp32",)))
    engine.providers = [provider, "CPUExecutionProvider"]
    program, _ = sweep_beside(engine)
    assert program.providers == ["CUDAExecutionProvider"]


def test_a_provider_that_does_not_start_is_told(tmp_path, monkeypatch):
    def broken(providers):
        raise EngineError("no kernel image")

    monkeypatch.setattr(sweep_programs, "reaches_gpu", lambda: True)
    monkeypatch.setattr(sweep_programs, "OnnxSweep", broken)
    engine = OnnxRuntimeEngine(write_model(tmp_path, ("fp32",)))
    engine.providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert sweep_beside(engine) == (None, "no kernel image")


def test_tensorrt_runs_its_plan(machine, folder):
    here, engine = on_tensorrt(machine, folder)
    program, why = sweep_beside(engine)
    assert program is None
    assert "there is no plan of the sweep" in why
    assert "ONNX Runtime has no provider for the GPU" in why
    build_sweep(here, BuildOptions(SHAPES), print)
    program, _ = sweep_beside(engine)
    assert isinstance(program, TensorRTSweep)
    assert program.shapes[0][:2] == (2, 1)
    beside_nothing = any_sweep()
    assert isinstance(beside_nothing, TensorRTSweep)
    for each in (program, beside_nothing, engine):
        each.close()


def test_without_a_plan_onnx_runtime_may_do_it(machine, folder, gpu_provider):
    _, engine = on_tensorrt(machine, folder)
    assert sweep_beside(engine)[0].backend == "onnxruntime CUDA"
    engine.close()


def test_plans_for_one_view_have_nothing_to_compare(machine, folder):
    _, engine = on_tensorrt(machine, folder, SHAPES[:1])
    program, why = sweep_beside(engine)
    assert program is None
    assert why == "the plans of tiny are for one view, which has nothing to be compared with"
    engine.close()


def test_any_is_the_cpus_at_last(monkeypatch):
    assert any_sweep().backend == "onnxruntime CPU"
    monkeypatch.setattr(sweep_programs, "reaches_gpu", lambda: True)
    monkeypatch.setattr(sweep_programs, "OnnxSweep", Opened)
    assert any_sweep().providers == ["CUDAExecutionProvider"]
