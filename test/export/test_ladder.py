# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from da3_ros.engines import load_engine
from da3_ros.engines.files import graph_name
from da3_ros.engines.plan import Flags, PlanError, Shape, build_lock, plans_folder, read_header
from da3_ros.engines.tensorrt import TensorRTEngine
from da3_ros.export.build import BuildError, BuildOptions, build_serialized
from da3_ros.export.ladder import LadderOptions, build_model

ONE, TWO = Shape(1, 28, 42), Shape(2, 28, 42)


@pytest.fixture
def build(machine, folder):
    """Function: build with drift by precision and options; returns result, TensorRT's calls and what was said."""

    def run(drift=None, version="10.3.0", **options):
        here = machine(version, drift)
        said = []
        result = build_model(folder, here, LadderOptions(**{"shapes": (ONE, TWO), **options}), said.append)
        return result, [call for call in here.trt.calls if call[0] == "build"], "\n".join(said)

    return run


def headers(kind="unposed"):
    return [read_header(path) for path in plans_folder("tiny").glob(f"{kind}.*.plan")]


def test_the_first_that_passes_is_kept(build):
    result, calls, said = build()
    assert result.precision == "fp16"
    assert [call[1] for call in calls] == ["unposed.fp16.onnx", "posed.fp16.onnx"]
    assert [path.name.split(".")[:2] for path in result.plans] == [["unposed", "fp16"], ["posed", "fp16"]]
    assert "drawn scene" in said
    assert "Building: 2 of 2" in said  # progress of the outermost phase only
    assert "Timing" not in said
    header = headers()[0]
    assert header.gate["passed"]
    assert header.gate["reference"].startswith("onnxruntime")
    assert header.gate["images"] == "a drawn scene"
    assert header.build["Total Activation Memory"] == 4096
    assert header.key.shapes == (ONE, TWO)


@pytest.mark.parametrize("wrong", [0.05, -0.05, np.nan, "unbuildable"])
def test_a_bad_precision_is_refused_aloud_and_the_next_is_taken(build, wrong):
    result, _, said = build({"fp16": wrong})
    assert result.precision == "bf16"
    assert "fp16 is refused" in said
    assert {h.key.precision for h in headers()} == {"bf16"}
    assert json.loads((plans_folder("tiny") / "build.json").read_text())["steps"] == list(result.steps)


def test_when_none_passes_the_model_runs_on_the_cpu(build, folder):
    result, calls, said = build({"fp16": 0.1, "bf16": 0.1, "fp32": 0.1})
    assert (result.precision, result.plans) == ("", ())
    # A precision is over with the first graph that fails to pass; both are built before they are judged.
    assert [call[1] for call in calls] == [
        graph_name(k, p) for p in ("fp16", "bf16", "fp32") for k in ("unposed", "posed")
    ]
    assert "runs on ONNX Runtime" in said
    assert not headers()
    assert load_engine(folder).info.backend.startswith("onnxruntime")


def test_a_missing_graph_is_a_step_too(build, folder):
    (folder / "posed.fp16.onnx").unlink()
    result, _, said = build()
    assert result.precision == "bf16"
    assert "posed.fp16.onnx: make it with `da3 export`" in said


def test_an_unparsable_graph_ends_in_the_parsers_words(build, folder):
    with open(folder / "posed.fp16.onnx", "ab") as stream:
        stream.write(b"\x1a\x0aunparsable")  # a field that ONNX does not know
    result, _, said = build()
    assert result.precision == "bf16"
    assert "no such operator (node node_7, Frobnicate)" in said


def test_a_plan_that_fits_is_not_built_again(build):
    first, _, _ = build()
    second, calls, said = build()
    assert second.plans == first.plans
    assert calls == []
    assert "are there and fit" in said


def test_a_new_version_a_new_graph_and_new_shapes_are_built_again(build, folder):
    build()
    for change in (
        lambda: build(version="10.13.3"),
        lambda: (folder / "model.safetensors").write_bytes(b"headhead" + np.float32(1).tobytes() + b"x") and build(),
        lambda: build(shapes=(TWO,)),
        lambda: build(flags=Flags(tf32=True)),
    ):
        _, calls, _ = change()
        assert len(calls) == 2
        assert len(headers()) == 1  # what it supersedes is gone


def test_a_damaged_plan_is_built_again(build):
    first, _, _ = build()
    first.plans[1].write_bytes(b"")
    result, calls, _ = build()
    assert len(calls) == 2
    assert read_header(result.plans[1])


def test_the_newest_precision_runs(build, folder):
    build()
    build(precisions=("fp32",))
    engine = load_engine(folder)
    assert isinstance(engine, TensorRTEngine)
    assert " fp32 " in engine.info.backend
    engine.close()
    build()  # nothing is built, but fp16 is wanted now
    engine = load_engine(folder)
    assert " fp16 " in engine.info.backend
    engine.close()


def test_another_build_at_work_is_named(build):
    with build_lock(plans_folder("tiny")), pytest.raises(PlanError, match="another build"):
        build()


def test_real_images_are_used_when_given(build, tmp_path):
    with pytest.raises(ValueError, match="holds no images"):
        build(images=tmp_path / "none")


def test_nothing_is_left_on_the_gpu(build, leftovers):
    before = leftovers()
    build({"fp16": 0.1})
    assert leftovers()[:5] == before[:5]


def test_flags_reach_the_builder(machine, folder, tmp_path):
    trt = machine("11.4.0").trt
    cache = tmp_path / "cache" / "times"
    flags = Flags(version_compatible=True, hardware_compatible=True, workspace_bytes=2**30)
    built = build_serialized(trt, folder / "unposed.onnx", "unposed", BuildOptions((ONE,), flags, cache))
    assert ("workspace", 2**30) in trt.calls
    name, profiles, given = trt.calls[-1][1:]
    assert (name, profiles) == ("unposed.onnx", 0)  # one shape: no open dimension, no profile
    assert given == {trt.BuilderFlag.VERSION_COMPATIBLE}
    assert cache.read_bytes() == b"+"
    assert built.seconds >= 0
    cache.write_bytes(b"foreign")
    build_serialized(trt, folder / "unposed.onnx", "unposed", BuildOptions((ONE,), timing_cache=cache))
    assert cache.read_bytes() == b"+"  # times of another machine are replaced
    build_serialized(trt, folder / "unposed.onnx", "unposed", BuildOptions((ONE,), Flags(tf32=True)))
    assert trt.calls[-1][3] == {trt.BuilderFlag.TF32}


def test_an_interrupt_stops_the_build(machine, folder):
    def report(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_serialized(machine().trt, folder / "unposed.onnx", "unposed", BuildOptions((ONE,)), report)


def test_a_graph_of_another_kind_is_refused(machine, folder):
    with pytest.raises(BuildError, match=r"the posed graph takes \['images'\]"):
        build_serialized(machine().trt, folder / "unposed.onnx", "posed", BuildOptions((ONE,)))


def test_tensorrt_itself_cannot_build_for_another_gpu(machine, folder):
    with pytest.raises(BuildError, match="only TensorRT for RTX"):
        build_serialized(machine().trt, folder / "unposed.onnx", "unposed", BuildOptions((ONE,), targets=("SM86",)))


def test_bad_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one shape"):
        BuildOptions(())
    with pytest.raises(ValueError, match="repeat"):
        BuildOptions((ONE, ONE))
    with pytest.raises(ValueError, match="no timing cache"):
        BuildOptions((ONE,), timing_cache=tmp_path, targets=("SM86",))
