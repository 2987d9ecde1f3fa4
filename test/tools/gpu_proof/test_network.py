# SPDX-License-Identifier: Apache-2.0
"""The proof of the network, here of a tiny one on the CPU: errors are found, and what is missing is named."""

from needs import needs

needs("torch", "safetensors")

import sys
from dataclasses import replace

import pytest
import torch
from gpu_proof import compiled, libraries, machine, network, numerics, rounding
from gpu_proof.bench import TINY, Bench, Question, load_network
from gpu_proof.checks import Failure, Missing
from gpu_proof.numerics import TOLERANCES, errors, judge, worst
from gpu_proof.options import Options

QUICK = Options(device="cpu", quick=True)


def test_the_network_passes_beside_itself(outcomes):
    found = outcomes(network, QUICK)
    states = {name: check.state for name, check in found.items()}
    assert {name for name, state in states.items() if state != "passed"} == {n for n in states if ", tf32" in n}
    assert found["tiny, 1 view of 28x42, tf32"].message == "TF32 is arithmetic of a GPU"
    values = found["tiny, 4 views of 28x42, bfloat16"].values
    assert set(values["errors"]) == {
        "depth", "depth_conf", "ray", "ray_conf", "pose_code", "extrinsics", "intrinsics",
    }  # fmt: skip
    assert 1e-3 < values["largest"] < TOLERANCES["bfloat16"].largest, "bfloat16 must have been at work"
    assert values["largest"] > 20 * TOLERANCES["float32"].largest, "float32's tolerance would not let it pass"
    assert values["images_per_s"] == pytest.approx(4e3 / values["ms"])
    assert values["weights"] == "seeded"
    assert values["array_api"] == "array_api_compat"


@pytest.mark.parametrize(
    ("output", "factor", "words"),
    [("depth", 1 + 1e-3, "depth is off by 1.0e-03"), ("ray", float("nan"), "ray is not finite everywhere")],
)
def test_a_wrong_output_is_found(outcomes, monkeypatch, output, factor, words):
    answer = Bench.answer

    def wrong(self, question, arithmetic):
        out = answer(self, question, arithmetic)
        return {**out, output: out[output] * (factor if question.posed else 1)}

    monkeypatch.setattr(Bench, "answer", wrong)
    found = outcomes(network, QUICK)
    failed = {name: check for name, check in found.items() if check.state == "failed"}
    assert list(failed) == ["tiny, 2 views of 28x42, float32, cameras known"]
    assert words in failed["tiny, 2 views of 28x42, float32, cameras known"].message


def test_cameras_and_their_knowledge_reach_the_network():
    bench = Bench(TINY, QUICK)
    depth = [bench.expected(Question(2, 28, 42, posed=posed))["depth"] for posed in (False, True)]
    assert float((depth[0] - depth[1]).abs().max()) > 1e-2


def test_the_cases_are_those_that_were_asked_for():
    cases = network.cases(Options())
    assert {c.preset for c in cases} == {"da3-nano", "da3-small", "da3-base"}
    for preset in ("da3-nano", "da3-small", "da3-base"):
        for arithmetic in ("float32", "tf32", "bfloat16"):
            views = [c.question.views for c in cases if (c.preset, c.arithmetic) == (preset, arithmetic)]
            assert {1, 2, 4} <= set(views)
    assert sum(c.question == network.PAPERS for c in cases) == 4
    assert len({c.name for c in cases}) == len(cases)


def test_errors_are_relative_to_each_output():
    expected = {"depth": torch.tensor([10.0, 1.0]), "extrinsics": torch.eye(4)[None, None, :3]}
    turned = expected["extrinsics"].clone()
    angle = torch.tensor(0.01)
    turned[..., 0, 0] = turned[..., 1, 1] = angle.cos()
    turned[..., 0, 1], turned[..., 1, 0] = -angle.sin(), angle.sin()
    found = errors({"depth": torch.tensor([10.0, 1.5]), "extrinsics": turned}, expected)
    assert found["depth"]["largest"] == pytest.approx(0.05)
    assert found["depth"]["mean"] == pytest.approx(0.25 / 5.5)
    assert found["extrinsics"]["degrees"] == pytest.approx(0.57296, rel=1e-4)
    assert worst(found)[:2] == ("depth", pytest.approx(0.05))
    with pytest.raises(
        Failure, match=r"depth is off by 5.0e-02 \(largest\), allowed 0.0003; depth is off by 4.5e-02 \(mean\)"
    ):
        judge(found, "float32")
    judge({"depth": {"largest": 0.05, "mean": 0.03}}, "bfloat16")
    with pytest.raises(Failure, match=r"depth is \(1,\), expected \(2,\)"):
        errors({"depth": torch.ones(1)}, {"depth": torch.ones(2)})
    with pytest.raises(Failure, match=r"the outputs are \['depth'\], expected \['depth', 'ray'\]"):
        errors({"depth": torch.ones(1)}, {"depth": torch.ones(1), "ray": torch.ones(1)})


def test_tolerances_grow_as_bits_are_lost():
    largest = [TOLERANCES[name].largest for name in ("float32", "tf32", "bfloat16")]
    mean = [TOLERANCES[name].mean for name in ("float32", "tf32", "bfloat16")]
    assert largest == sorted(largest)
    assert mean == sorted(mean)
    assert largest[-1] < 0.5, "a wrong operator costs 1"


def test_float32_costs_far_less_than_it_may():
    """Beside float64, whose rounding is nothing to it: the figures in numerics.py, on a small network."""
    bench = Bench(TINY, QUICK)
    images = numerics.draw_images(2, 28, 42)
    with torch.inference_mode():
        single = bench.expecting(images, reference="first")
        double = bench.expecting.double()(images.double(), reference="first")
    found = errors(single, double)
    assert worst(found)[1] < TOLERANCES["float32"].largest / 3
    assert worst(found)[3] < TOLERANCES["float32"].mean / 3


def test_what_rounding_costs_is_measured():
    found = {views: costs for _, views, costs in rounding.measure(QUICK)}
    assert set(found) == {1, 2}
    for costs in found.values():
        for name, tolerance in TOLERANCES.items():
            assert 0 < costs[name][0] < tolerance.largest / 2
            assert 0 < costs[name][1] < tolerance.mean / 2
        assert costs["float32"][0] < costs["tf32"][0] / 50 < costs["bfloat16"][0] / 200
        assert costs["tf32"][0] > 3 * TOLERANCES["float32"].largest, "it cannot pass for float32"
    lines = list(rounding.table(QUICK))
    assert lines[2].startswith("| tiny | 1 | ")
    assert lines[-1] == "| allowed | | 0.0003 | 0.0001 | 0.015 | 0.005 | 0.12 | 0.04 |"


def test_tf32_has_ten_bits():
    x = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-12, -3.1415927, 0.0])
    assert rounding.to_tf32(torch, x).tolist() == [1.0, 1 + 2**-10, 1 + 2**-10, 1 + 2**-10, -3.140625, 0.0]
    with rounding.coarse_products(torch):
        assert float(torch.nn.functional.linear(x[3:4], x[:1])) == 1 + 2**-10
        assert float(x[3:4] * x[:1]) == 1 + 3 * 2**-12, "products alone, no element-wise arithmetic"


def test_weights_follow_from_names_alone(tmp_path):
    torch.manual_seed(1)
    first = load_network(TINY, tmp_path)[1].state_dict()
    torch.manual_seed(2)
    second = load_network(TINY, tmp_path)[1].state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_whose_weights_they_are_is_said(tmp_path, monkeypatch):
    source, model = load_network("da3-nano", tmp_path)
    assert source.startswith(f"seeded: {tmp_path / 'da3-nano'} is no folder")
    from da3_ros.network import save_checkpoint

    save_checkpoint(model, tmp_path / "da3-nano")
    assert load_network("da3-nano", tmp_path)[0] == "da3-nano's own"
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "the package safetensors, which is missing" in load_network("da3-nano", tmp_path)[0]


@pytest.mark.parametrize(("version", "words"), [(None, "was built without CUDA"), ("13.0", "finds no GPU")])
def test_a_pytorch_without_a_gpu_says_why(monkeypatch, version, words):
    monkeypatch.setattr(torch.version, "cuda", version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Missing if version is None else Failure, match=words):
        machine.torch_with_cuda()


def test_without_cuda_every_case_is_missing(outcomes, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    found = outcomes(network, Options(quick=True))
    assert {check.state for check in found.values()} == {"missing"}


def test_a_compiler_that_gives_up_is_no_failure(outcomes, monkeypatch):
    def refuse(model):
        def call(*arguments, **options):
            raise RuntimeError("no backend\nand a long story")

        return call

    monkeypatch.setattr(torch, "compile", refuse)
    (check,) = outcomes(compiled, QUICK).values()
    assert (check.state, check.message) == ("gave up", "torch.compile gave up: RuntimeError: no backend")


def test_a_compiler_that_is_wrong_is_a_failure(outcomes, monkeypatch):
    def wrong(model):
        return lambda **inputs: {name: 2 * value for name, value in model(**inputs).items()}

    monkeypatch.setattr(torch, "compile", wrong)
    (check,) = outcomes(compiled, QUICK).values()
    assert check.state == "failed"
    assert "depth is off by 1.0e+00" in check.message
    monkeypatch.setattr(torch, "compile", lambda model: model)
    (check,) = outcomes(compiled, QUICK).values()
    assert check.state == "passed"


class TestLibraries:
    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch):
        for name in ("DA3_ENGINE", "DA3_PLANS"):
            monkeypatch.setenv(name, "")  # restored when the test ends

    def test_the_engine_of_onnx_runtime_is_compared(self, outcomes, monkeypatch):
        needs("onnxruntime")
        found = outcomes(libraries, QUICK)
        check = found["ONNX Runtime"]
        assert check.state == "passed", check.message
        assert check.values["weights"] == "da3-nano's own"
        assert "CPU" in check.values["backend"]
        assert set(check.values["errors"]) == {"depth", "depth_conf", "extrinsics", "intrinsics"}
        assert found["TensorRT"].state == found["TensorRT for RTX"].state == "missing"
        from da3_ros.engines.onnxruntime import OnnxRuntimeEngine

        run = OnnxRuntimeEngine.run
        monkeypatch.setattr(
            OnnxRuntimeEngine, "run", lambda self, *a, **k: replace(e := run(self, *a, **k), depth=1.1 * e.depth)
        )
        check = outcomes(libraries, QUICK)["ONNX Runtime"]
        assert check.state == "failed"
        assert "depth is off by 1.0e-01" in check.message

    def test_what_is_missing_is_named(self, outcomes, monkeypatch, tmp_path):
        for name in ("onnxruntime", "tensorrt", "tensorrt_rtx"):
            monkeypatch.setitem(sys.modules, name, None)
        found = outcomes(libraries, Options(models=str(tmp_path)))
        assert {check.state for check in found.values()} == {"missing"}
        for name, remedy in (
            ("ONNX Runtime", "pip install onnxruntime-gpu"),
            ("TensorRT", "pip install tensorrt"),
            ("TensorRT for RTX", "pip install tensorrt-rtx-cu12"),
        ):
            assert remedy in found[name].message

    def test_an_onnx_runtime_for_cpus_is_missing_something(self, outcomes, monkeypatch):
        runtime = pytest.importorskip("onnxruntime")
        monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        message = outcomes(libraries, Options())["ONNX Runtime"].message
        assert "has no provider for an NVIDIA GPU, only CPUExecutionProvider" in message

    def test_a_quiet_fall_back_to_the_cpu_is_a_failure(self, outcomes, monkeypatch):
        runtime = pytest.importorskip("onnxruntime")
        available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(runtime, "get_available_providers", lambda: available)
        check = outcomes(libraries, Options(quick=True))["ONNX Runtime"]
        assert check.state == "failed"
        assert "CPU, not on CUDA" in check.message

    def test_where_no_graphs_lie_some_are_exported(self, monkeypatch, tmp_path):
        needs("onnx", "onnxscript")
        import da3_ros.export
        from da3_ros.network import load_checkpoint
        from da3_ros.network.presets import PRESETS

        exported = []
        monkeypatch.setattr(da3_ros.export, "export_checkpoint", lambda *a: exported.append(a), raising=False)
        # What is put there on the way is gone after the test: the tests of others find their own presets by shape.
        monkeypatch.setitem(PRESETS, TINY, None)
        monkeypatch.delitem(PRESETS, TINY)
        options = Options(device="cpu", quick=True, models=str(tmp_path / "nothing"))
        folder, source = libraries.graphs(options, tmp_path)
        assert exported == [(folder, folder)]
        assert source == "seeded"
        expected = load_network(TINY, tmp_path)[1].state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in load_checkpoint(folder).state_dict().items())

    def test_without_onnx_no_graph_can_be_exported(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(Missing, match="to export some onnx would be needed"):
            libraries.graphs(Options(models=str(tmp_path)), tmp_path)
