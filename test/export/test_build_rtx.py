# SPDX-License-Identifier: Apache-2.0
"""The builder on a real TensorRT: TensorRT for RTX builds for GPUs that are not there.

Its parser is that of TensorRT 11, and networks are strongly typed in the same way. What it cannot say: how TensorRT
10 for Jetson fuses, and whether what it builds is right.
"""

from needs import needs

needs("safetensors", "torch")

from pathlib import Path

import pytest
from micro import LARGE, MICRO

from da3_ros.engines.files import graph_name
from da3_ros.engines.plan import SWEEP, Shape
from da3_ros.engines.sweep import GRAPH
from da3_ros.export.build import BuildError, BuildOptions, build_serialized
from da3_ros.network import PRESETS
from da3_ros.network.presets import PATCH

try:
    import tensorrt_rtx as trt
except ImportError as error:
    pytest.skip(f"TensorRT for RTX is not installed ({error}): `make env EXTRAS=tensorrt`", allow_module_level=True)

NANO = Path(__file__).resolve().parents[2] / "models" / "da3-nano"
SIDE = LARGE[0]
TARGETS = ("SM80", "SM86", "SM89", "SM120")


@pytest.fixture
def half(exported, in_16_bits):
    """The unposed graph of the micro preset in fp16."""
    return exported[1] / graph_name("unposed", "fp16")


def attention_bytes(heads, views, item):
    """Size of the attention matrices of one layer that sees all views."""
    tokens = views * ((SIDE // PATCH) ** 2 + 1)
    return heads * tokens**2 * item


def activations(graph, shape, targets=("SM86",), kind="unposed"):
    """Bytes; a plan for several GPUs has those of the GPU that needs most."""
    return build_serialized(trt, graph, kind, BuildOptions((shape,), targets=targets)).memory["Total Activation Memory"]


@pytest.mark.parametrize("kind", ["unposed", "posed"])
def test_the_shipped_graphs_build_for_every_generation(kind):
    said = []
    options = BuildOptions((Shape(2, 56, 70),), targets=TARGETS)
    built = build_serialized(trt, NANO / graph_name(kind), kind, options, said.append)
    assert len(built.payload) > 10_000
    assert built.memory["Total Weights Memory"] > 0
    assert any(" of " in line for line in said)


def test_a_generation_that_cannot_run_a_graph_fails_the_plan_of_all(half):
    """Turing has no kernel for products of float32 matrices: what builds for several was compiled for each."""
    with pytest.raises(BuildError, match=r"Turing \(SM75\)"):
        activations(half, Shape(1, SIDE, SIDE), ("SM86", "SM75"))


def test_attention_is_fused_in_fp16(half):
    """Unfused, the activations hold (views * tokens)^2 numbers a head; fused, they grow with the views."""
    two, eight = (activations(half, Shape(n, SIDE, SIDE), TARGETS) for n in (2, 8))
    assert eight < 2 * attention_bytes(MICRO.heads, 8, 2)
    assert eight / two < 4.5  # 4 at most where memory is linear in views; in fp32, which is not fused: 10.6


def test_attention_is_not_fused_in_fp32():
    """TensorRT fuses half precision only. Should this fail, fp32 has become much cheaper: good news."""
    two, eight = (activations(NANO / graph_name("unposed"), Shape(n, SIDE, SIDE)) for n in (2, 8))
    assert eight > attention_bytes(PRESETS["da3-nano"].heads, 8, 4)
    assert eight / two > 8


def test_several_shapes_become_profiles(exported):
    shapes = (Shape(1, 56, 70), Shape(2, 70, 56))
    graph = exported[1] / graph_name("posed")
    built = build_serialized(trt, graph, "posed", BuildOptions(shapes, targets=("SM86",)))
    assert len(built.payload) > 10_000


def test_the_graph_of_the_sweep_builds_for_every_generation():
    options = BuildOptions((Shape(2, 56, 70), Shape(4, 56, 70)), targets=TARGETS)
    built = build_serialized(trt, GRAPH, SWEEP, options)
    assert len(built.payload) > 10_000
    assert 0 < built.memory["Total Activation Memory"] < 60e6


def test_a_gpu_that_it_does_not_know_is_named(half):
    with pytest.raises(BuildError, match=r"cannot build for SM87; it knows .*SM86"):
        activations(half, Shape(1, SIDE, SIDE), ("SM86", "SM87"))


def test_a_broken_graph_ends_in_the_parsers_words(tmp_path):
    (tmp_path / "unposed.onnx").write_bytes(b"not a graph")
    with pytest.raises(BuildError, match="cannot parse"):
        activations(tmp_path / "unposed.onnx", Shape(1, 56, 70))
