# SPDX-License-Identifier: Apache-2.0
"""The TensorRT engine on a pretended GPU: the real driver calls, files and choices, with invented arithmetic."""

from needs import needs

needs("onnx")

import json
import threading

import numpy as np
import pytest
from tiny_model import write_model

from da3_ros.engines import EngineError, explain_engines, load_engine
from da3_ros.engines.onnxruntime import OnnxRuntimeEngine, choose_providers
from da3_ros.engines.plan import PlanError, Shape, plans_folder, read_header, write_plan
from da3_ros.engines.tensorrt import TensorRTEngine
from da3_ros.export.ladder import LadderOptions, build_model

SHAPES = (Shape(2, 28, 42), Shape(1, 28, 42))


@pytest.fixture
def built(machine, folder):
    """A folder whose fp16 plans are ready, and the machine."""
    here = machine()
    assert build_model(folder, here, LadderOptions(SHAPES), print).precision == "fp16"
    return folder


@pytest.fixture
def engine(built):
    engine = load_engine(built)
    assert isinstance(engine, TensorRTEngine)
    yield engine
    engine.close()


def cameras(views):
    extrinsics = np.tile(np.eye(4, dtype=np.float32), (views, 1, 1))
    extrinsics[:, 0, 3] = np.arange(views)
    return extrinsics, np.tile(100 * np.eye(3, dtype=np.float32), (views, 1, 1))


@pytest.mark.parametrize("posed", [False, True])
def test_it_says_what_onnx_runtime_says(engine, built, images, posed):
    known = cameras(2) if posed else ()
    expected = OnnxRuntimeEngine(built).run(images, *known)
    for _ in range(3):  # the first call, the first of the recording, another
        got = engine.run(images, *known)
        for name in ("depth", "confidence", "extrinsics", "intrinsics"):
            np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-6, err_msg=name)
    assert engine.info.backend == "TensorRT 10.3.0 fp16 Pretend GPU"
    assert (engine.info.model, engine.info.patch, engine.info.takes_poses) == ("tiny", 14, True)


@pytest.mark.parametrize("known", [(True, False), (False, True), (True, True), None])
def test_cameras_known_for_some_views_alone(machine, tmp_path, images, known):
    """The graph has a mask; ONNX Runtime and TensorRT fill it in alike, with ones where nothing is said."""
    folder = write_model(tmp_path, ("fp32", "bf16", "fp16"), mixes=True)
    assert build_model(folder, machine(), LadderOptions(SHAPES), print).precision == "fp16"
    mask = None if known is None else np.array(known)
    given = cameras(2)[0]
    given[0, 1, 3] = 5
    engine = load_engine(folder)
    for each in (OnnxRuntimeEngine(folder), engine):
        assert each.info.mixes
        got = each.run(images, given, cameras(2)[1], mask).extrinsics
        for i in range(2):
            seen = known is None or known[i]
            np.testing.assert_array_equal(got[i], given[i, :3] if seen else np.eye(3, 4))
        with pytest.raises(EngineError, match="give extrinsics"):
            each.run(images, known=np.array([True, False]))
        with pytest.raises(EngineError, match=r"known must be \(2,\) bool, got \(1,\)"):
            each.run(images, *cameras(2), np.array([True]))
    engine.close()


def test_graphs_of_early_exports_take_all_cameras_or_none(engine, built, images):
    for each in (OnnxRuntimeEngine(built), engine):
        assert not each.info.mixes
        with pytest.raises(EngineError, match="export it again"):
            each.run(images, *cameras(2), np.array([True, False]))
        everything, nothing = (each.run(images, *cameras(2), np.full(2, value)) for value in (True, False))
        np.testing.assert_array_equal(everything.extrinsics, cameras(2)[0][:, :3])
        np.testing.assert_array_equal(nothing.extrinsics, np.tile(np.eye(3, 4), (2, 1, 1)))


def test_results_outlive_the_next_call(engine, images):
    first = engine.run(images).depth
    kept = first.copy()
    engine.run(255 - images)
    np.testing.assert_array_equal(first, kept)


def test_every_shape_is_recorded_once(engine, images, leftovers):
    launches = leftovers()[5]
    for _ in range(4):
        assert engine.run(images).depth.shape == (2, 28, 42)
        assert engine.run(images[:1]).depth.shape == (1, 28, 42)
    assert leftovers()[5] - launches == 6  # the first call of each shape warms up


def test_without_cuda_graphs_it_runs_on(engine, images, monkeypatch, caplog, leftovers):
    monkeypatch.setenv("FAKE_CUDA_NO_CAPTURE", "1")
    launches = leftovers()[5]
    first = engine.run(images).depth
    np.testing.assert_array_equal(engine.run(images).depth, first)
    assert "no CUDA graph" in caplog.text
    assert leftovers()[5] == launches


def test_calls_may_come_from_another_thread(engine, images):
    out = []
    thread = threading.Thread(target=lambda: out.append(engine.run(images)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(out[0].depth, engine.run(images).depth)


def test_a_shape_without_profile_says_what_to_do(engine):
    images = np.zeros((3, 28, 42, 3), np.uint8)
    with pytest.raises(EngineError, match=r"no profile for 3 views of 28x42; it has .*--views 3 --size 28x42"):
        engine.run(images)


def test_bad_inputs_are_refused(engine, images):
    for bad, words in (
        ((images.astype(np.float32),), "uint8"),
        ((images[:, :27],), "multiple of 14"),
        ((images, cameras(2)[0]), "both"),
        ((images, *cameras(1)), "2 views need"),
    ):
        with pytest.raises(EngineError, match=words):
            engine.run(*bad)


def test_closing_gives_everything_back(built, images, leftovers):
    before = leftovers()
    engine = load_engine(built)
    engine.run(images)
    engine.run(images, *cameras(2))
    assert leftovers()[0] > before[0]
    engine.close()
    engine.close()
    assert leftovers()[:5] == before[:5]
    with pytest.raises(EngineError, match="closed"):
        engine.run(images)


def test_too_little_memory_is_said_and_nothing_leaks(built, monkeypatch, leftovers, caplog):
    before = leftovers()
    monkeypatch.setenv("FAKE_CUDA_MEMORY", "100")
    assert isinstance(load_engine(built), OnnxRuntimeEngine)
    assert "OUT_OF_MEMORY" in caplog.text
    assert leftovers()[:5] == before[:5]


def test_a_plan_that_tensorrt_refuses_ends_in_its_words(built, machine):
    here = machine()
    path = next(plans_folder("tiny").glob("unposed*.plan"))
    header = read_header(path)
    with pytest.raises(PlanError, match=r"version 10\.3\.0 does not match 9\.9 of the plan"):
        TensorRTEngine(here, {"unposed": (header, b'ftrt{"version": "9.9", "portable": false}')})


def engine_for(images, **more):
    """What `fake_tensorrt` takes for an engine with one profile."""
    spec = {"version": "10.3.0", "portable": False, "profiles": [{"images": images}], "inputs": ["images"]}
    return b"ftrt" + json.dumps({**spec, **more}).encode()


def test_an_engine_with_a_type_that_is_not_handled(built, machine, images):
    here = machine()
    path = next(plans_folder("tiny").glob("unposed*.plan"))
    payload = engine_for([2, 28, 42, 3], dtype="BF16")
    engine = TensorRTEngine(here, {"unposed": (read_header(path), payload)})
    with pytest.raises(EngineError, match=r"depth is of type .*BF16"):
        engine.run(images)
    engine.close()


def test_a_header_that_promises_more_than_the_engine(built, machine, images):
    here = machine()
    path = next(plans_folder("tiny").glob("unposed*.plan"))
    payload = engine_for([1, 28, 42, 3])
    engine = TensorRTEngine(here, {"unposed": (read_header(path), payload)})
    with pytest.raises(EngineError, match="out of the profile"):
        engine.run(images)
    with pytest.raises(EngineError, match="names profile 1, the engine has 1"):
        engine.run(images[:1])
    engine.close()


def test_the_choice_is_explained(built, machine, monkeypatch, tmp_path, caplog):
    caplog.set_level("INFO")
    choices = explain_engines(built)
    assert [(c.engine, c.usable) for c in choices if c.usable] == [("tensorrt", True), ("onnxruntime", True)]
    assert [c.engine for c in choices] == ["tensorrt", "openvino", "onnxruntime"]
    assert "fp16 plan for 2 views of 28x42, 1 view of 28x42" in choices[0].reason
    load_engine(built).close()
    assert "engine: TensorRT 10.3.0 fp16" in caplog.text

    machine("10.4.0")
    choice = explain_engines(built)[0]
    assert not choice.usable
    assert "built by TensorRT 10.3.0, here is 10.4.0" in choice.reason
    assert "da3 build" in choice.reason
    assert isinstance(load_engine(built), OnnxRuntimeEngine)

    monkeypatch.setenv("DA3_PLANS", str(tmp_path / "nothing"))
    assert "there is no plan in" in explain_engines(built)[0].reason


def test_the_environment_can_rule_an_engine_out(built, machine, monkeypatch):
    monkeypatch.setenv("DA3_ENGINE", "onnxruntime")
    assert "ruled out by DA3_ENGINE=onnxruntime" in explain_engines(built)[0].reason
    assert isinstance(load_engine(built), OnnxRuntimeEngine)
    monkeypatch.setenv("DA3_ENGINE", "tensorrt")
    machine("10.4.0")
    with pytest.raises(EngineError, match="no engine can run"):
        load_engine(built)
    monkeypatch.setenv("DA3_ENGINE", "cuda")
    with pytest.raises(EngineError, match="must be auto, tensorrt, openvino, onnxruntime"):
        load_engine(built)


def test_a_damaged_plan_falls_back_loudly(built, caplog):
    path = next(plans_folder("tiny").glob("posed*.plan"))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert isinstance(load_engine(built), OnnxRuntimeEngine)
    assert "checksum differs" in caplog.text


def test_a_plan_for_half_of_the_graphs_is_no_plan(built):
    next(plans_folder("tiny").glob("posed*.plan")).unlink()
    choice = explain_engines(built)[0]
    assert not choice.usable
    assert "no fp16 plan of posed.onnx" in choice.reason


def test_a_plan_whose_header_claims_the_gate_is_the_only_one_used(built):
    path = next(plans_folder("tiny").glob("unposed*.plan"))
    header = read_header(path)
    header.gate.update(passed=False, verdict="depth (AbsRel) differs")
    write_plan(path, header, path.read_bytes()[-header.payload_bytes :])
    assert "accuracy gate (depth (AbsRel) differs)" in explain_engines(built)[0].reason


def test_providers_follow_the_machine():
    every = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert choose_providers(every, gpu=True) == every
    assert choose_providers(every, gpu=False) == ["CPUExecutionProvider"]
    assert choose_providers(["AzureExecutionProvider", "CPUExecutionProvider"], gpu=True) == ["CPUExecutionProvider"]
    assert choose_providers(every[1:], gpu=True) == every[1:]
