# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from da3_ros.engines import EngineError, explain_engines, load_engine, onnxruntime
from da3_ros.engines import openvino as module
from da3_ros.engines.onnxruntime import OnnxRuntimeEngine
from da3_ros.engines.openvino import OpenVinoEngine, Processor, explain_openvino, write_verdicts
from da3_ros.engines.plan import Shape, plans_folder
from da3_ros.export.bfloat16 import compare_bfloat16
from da3_ros.export.gate import Tolerance
from da3_ros.models import find_model

SHAPES = (Shape(1, 28, 42), Shape(2, 28, 42))


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Function: this processor, with bfloat16 arithmetic or without, is what the engine finds."""
    pytest.importorskip("openvino", reason="not installed: `make env EXTRAS=openvino`")
    monkeypatch.setenv("DA3_PLANS", str(tmp_path / "plans"))
    monkeypatch.delenv("DA3_ENGINE", raising=False)
    real = Processor.inspect()

    def put(**changes):
        here = replace(real, **{"bf16": True, **changes})
        monkeypatch.setattr(Processor, "inspect", lambda: here)
        return here

    put.real = real
    return put


@pytest.fixture
def compared(folder, processor):
    """A model whose bfloat16 has passed."""
    assert compare_bfloat16(folder, processor(), SHAPES, lambda _: None)
    return folder


def test_without_openvino_the_reason_is_said(folder, monkeypatch):
    monkeypatch.setattr(module, "MODULE", "no_such_openvino")
    choice = next(choice for choice in explain_engines(folder) if choice.engine == "openvino")
    assert not choice.usable
    assert "pip install openvino" in choice.reason
    assert isinstance(load_engine(folder), OnnxRuntimeEngine)
    with pytest.raises(EngineError, match="pip install openvino"):
        OpenVinoEngine(folder)


def test_in_float32_it_equals_onnx_runtime(processor):
    processor()
    folder = find_model("da3-nano")[1]
    engines = [OnnxRuntimeEngine(folder, 1), OpenVinoEngine(folder, 1, "fp32")]
    for views in (1, 3):
        images = np.random.default_rng(0).integers(0, 256, (views, 84, 112, 3), dtype=np.uint8)
        expected, found = (engine.run(images) for engine in engines)
        for name in ("depth", "confidence", "extrinsics", "intrinsics"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5)
        poses = np.tile(np.eye(4, dtype=np.float32), (views, 1, 1))
        poses[:, 0, 3] = 0.2 * np.arange(views)
        expected, found = (engine.run(images, poses, expected.intrinsics) for engine in engines)
        np.testing.assert_allclose(found.depth, expected.depth, rtol=1e-4)
    assert replace(engines[1].info, backend="") == replace(engines[0].info, backend="")


CLOSED_ELSEWHERE = """
import signal, sys, threading
from da3_ros.engines.openvino import OpenVinoEngine
engines = [OpenVinoEngine(sys.argv[1], 1, "fp32")]
signal.signal(signal.SIGUSR1, lambda *_: print("a handler ran"))
thread = threading.Thread(target=engines.clear)
thread.start()
thread.join()
signal.raise_signal(signal.SIGUSR1)
"""


def test_signals_are_survived_after_an_engine_was_closed_in_another_thread(folder, processor):
    """OpenVINO's stack for signal handlers must outlive it."""
    code = [sys.executable, "-c", CLOSED_ELSEWHERE, str(folder)]
    process = subprocess.run(code, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (0, "a handler ran\n"), process.stderr


def test_bfloat16_is_near_float32_on_the_shipped_network(processor):
    if not processor.real.bf16:
        pytest.skip(f"{processor.real.name} has no bfloat16 arithmetic")
    processor()
    folder = find_model("da3-nano")[1]
    said = []
    assert compare_bfloat16(folder, processor(), (Shape(2, 84, 112),), said.append), "\n".join(said)
    engine = load_engine(folder, threads=1)
    assert engine.info.backend.startswith("openvino")
    assert engine.info.backend.endswith("bf16")
    images = np.random.default_rng(0).integers(0, 256, (2, 84, 112, 3), dtype=np.uint8)
    difference = np.abs(engine.run(images).depth / OnnxRuntimeEngine(folder, 1).run(images).depth - 1)
    assert 0 < difference.mean() < 0.01


def test_it_is_chosen_once_it_was_compared(folder, processor, caplog):
    here = processor()
    fits, reason = explain_openvino(folder)
    assert not fits
    assert "not been compared" in reason
    assert "da3 build" in reason
    assert isinstance(load_engine(folder), OnnxRuntimeEngine)
    said = []
    assert compare_bfloat16(folder, here, SHAPES, said.append)
    assert "drawn scene" in said[0]
    assert sum("passed" in line for line in said) == 2
    assert json.loads((plans_folder("tiny") / "build.json").read_text())["steps"] == said
    caplog.set_level("INFO")
    engine = load_engine(folder)
    assert engine.info.backend == f"openvino {here.version} CPU bf16"
    assert f"engine: {engine.info.backend} ({explain_openvino(folder)[1]})" in caplog.text
    assert "in bfloat16, depth within" in caplog.text


@pytest.mark.parametrize("changed", ["graph", "weights", "processor", "version", "file", "kind", "refused"])
def test_a_comparison_of_something_else_does_not_count(compared, processor, changed):
    path = plans_folder("tiny") / "openvino.json"
    values = json.loads(path.read_text())
    if changed == "graph":
        graph = compared / "posed.onnx"
        graph.write_bytes(graph.read_bytes() + b"\x72\x00")  # an empty metadata_props
    elif changed == "weights":
        weights = compared / "model.safetensors"
        weights.write_bytes(weights.read_bytes() + b"!")
    elif changed == "processor":
        processor(name="another")
    elif changed == "version":
        processor(version="2030.1")
    elif changed == "file":
        path.write_text("[{}]")
    elif changed == "kind":
        path.write_text(json.dumps(values[:1]))
    else:
        values[1]["gate"].update(passed=False, verdict="depth (AbsRel) differs")
        path.write_text(json.dumps(values))
    fits, reason = explain_openvino(compared)
    assert not fits
    wanted = {"file": "damaged", "refused": "failed the accuracy gate (posed: depth (AbsRel) differs)"}
    assert wanted.get(changed, "of another") in reason
    assert isinstance(load_engine(compared), OnnxRuntimeEngine)
    assert OpenVinoEngine(compared).precision == "fp32"


def test_what_drifts_is_refused(folder, processor):
    said = []
    strict = Tolerance(abs_rel=-1)
    assert not compare_bfloat16(folder, processor(), SHAPES, said.append, tolerance=strict)
    assert "REFUSED" in "\n".join(said)
    assert "ONNX Runtime in float32" in said[-1]
    assert "failed the accuracy gate" in explain_openvino(folder)[1]


def test_float32_only_where_it_is_asked_for(compared, processor, monkeypatch):
    processor(bf16=False)
    fits, reason = explain_openvino(compared)
    assert not fits
    assert "no bfloat16 arithmetic" in reason
    monkeypatch.setenv("DA3_ENGINE", "openvino")
    assert load_engine(compared).info.backend.endswith("fp32")
    write_verdicts(compared, [])
    processor()
    assert load_engine(compared).info.backend.endswith("fp32")


def test_a_gpu_that_onnx_runtime_reaches_comes_first(compared, monkeypatch):
    monkeypatch.setattr(module, "reaches_gpu", lambda: True)
    assert explain_openvino(compared) == (False, "ONNX Runtime has a GPU here")
    assert not onnxruntime.reaches_gpu()


def test_threads_take_effect(folder, processor):
    processor()
    for threads in (1, 2):
        graph = OpenVinoEngine(folder, threads)._graphs["unposed.onnx"]
        assert graph.compiled.get_property("INFERENCE_NUM_THREADS") == threads


def test_errors_say_what_was_wrong(folder, processor, images):
    processor()
    with pytest.raises(ValueError, match="precision must be one of bf16, fp32"):
        OpenVinoEngine(folder, precision="fp16")
    engine = OpenVinoEngine(folder)
    with pytest.raises(EngineError, match="multiple of 14"):
        engine.run(images[:, :27])
    (folder / "posed.onnx").write_bytes(b"no graph")
    poses = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    with pytest.raises(EngineError, match=r"OpenVINO cannot load .*posed\.onnx"):
        engine.run(images, poses, poses[:, :3, :3])
    (folder / "unposed.onnx").unlink()
    assert "make it with `da3 export" in explain_openvino(folder)[1]
    with pytest.raises(EngineError, match="da3 export"):
        compare_bfloat16(folder, processor(), SHAPES, print)
