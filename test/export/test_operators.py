# SPDX-License-Identifier: Apache-2.0
"""Every operator of the standard graphs is one that TensorRT documents, used as it documents it."""

from needs import needs

needs("onnx")

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from da3_ros.engines.sweep import GRAPH

TAKEN = json.loads((Path(__file__).parents[1] / "data" / "tensorrt_operators.json").read_text())["operators"]
TYPES = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.UINT8: "UINT8",
    TensorProto.BOOL: "BOOL",
}
SAME_TYPE = {"Add", "Sub", "Mul", "Div", "MatMul", "Conv", "ConvTranspose", "LayerNormalization", "Concat", "Softmax"}
COMPARISONS = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
NAMES = ("unposed.onnx", "posed.onnx", "unposed.fp16.onnx", "unposed.bf16.onnx", "nested", GRAPH.name)


@pytest.fixture(scope="module", params=NAMES)
def graph(request):
    if request.param == GRAPH.name:
        path = GRAPH
    elif request.param == "nested":
        path = request.getfixturevalue("exported_nested")[1] / "unposed.onnx"
    else:
        request.getfixturevalue("in_16_bits")
        path = request.getfixturevalue("exported")[1] / request.param
    model = onnx.load(str(path), load_external_data=False)
    return request.param, model, _element_types(model)


def _element_types(model):
    """Element type of every value; shapes are not needed for it and external weights not read."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {t.name: t.data_type for t in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def test_operators_and_their_types(graph):
    name, model, types = graph
    assert [entry.domain for entry in model.opset_import] == [""]
    for node in model.graph.node:
        assert node.op_type in TAKEN, f"{name}: {node.op_type} is not in TensorRT's list"
        # Comparisons give booleans whatever they compare, and the list does not speak of the sizes of a Resize.
        # Nor of the indices of an ArgMax and a GatherElements.
        inputs = node.input[:1] if node.op_type in ("Resize", "GatherElements") else node.input
        values = inputs if node.op_type in (*COMPARISONS, "ArgMax") else (*inputs, *node.output)
        for value in values:
            if value:
                kind = TYPES[types[value]]
                assert kind in TAKEN[node.op_type], f"{name}: {node.op_type} {node.name} has {value} of {kind}"


def test_a_strongly_typed_network_never_mixes_types(graph):
    name, model, types = graph
    for node in model.graph.node:
        if node.op_type in SAME_TYPE:
            found = {TYPES[types[value]] for value in (*node.input, *node.output) if value}
            assert len(found) == 1, f"{name}: {node.op_type} {node.name} mixes {found}"


def test_restrictions(graph):
    name, model, _ = graph
    constants = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "LayerNormalization":
            assert len(node.output) == 1, f"{name}: only the first output is supported"
        if node.op_type in ("Squeeze", "Unsqueeze", "ReduceSum", "ReduceMax", "ReduceMin") and len(node.input) > 1:
            assert node.input[1] in constants, f"{name}: axes of {node.name} must be an initialiser"
        if node.op_type == "Slice" and len(node.input) > 3:
            assert node.input[3] in constants, f"{name}: axes of {node.name} must be an initialiser"
        if node.op_type == "Resize":
            assert attributes["mode"] in (b"nearest", b"linear"), f"{name}: {node.name}"
            assert attributes["coordinate_transformation_mode"] in (b"half_pixel", b"align_corners"), name
            assert not attributes.get("antialias"), name
            assert "axes" not in attributes, name
        if node.op_type == "GridSample":
            assert attributes["mode"] == b"bilinear", f"{name}: TensorRT 10.1 knows it by this name only"
            assert model.opset_import[0].version < 20, f"{name}: from opset 20 on it is called linear"
        if node.op_type == "AveragePool":
            assert len(attributes["kernel_shape"]) == 2, f"{name}: two dimensions, or three"
            assert "dilations" not in attributes, name


def test_what_stays_in_float32(graph):
    """LayerNorms, convolutions and outputs; products of the transformer are in the graph's own precision."""
    name, model, types = graph
    for node in model.graph.node:
        if node.op_type in ("LayerNormalization", "Conv", "ConvTranspose", "Exp"):
            assert types[node.output[0]] == TensorProto.FLOAT, f"{name}: {node.name}"
    assert all(types[output.name] == TensorProto.FLOAT for output in model.graph.output)
    softmax = {TYPES[types[node.output[0]]] for node in model.graph.node if node.op_type == "Softmax"}
    low = {"unposed.fp16.onnx": "FP16", "unposed.bf16.onnx": "BF16"}.get(name, "FP32")
    assert softmax == (set() if name == GRAPH.name else {low})


def test_no_weights_are_doubled(graph):
    """Constants inside a graph are small: weights are read from the checkpoint, and cast. Tables of positions are
    larger in a graph of one size.
    """
    name, model, _ = graph
    weights = {int(np.prod(t.dims)) for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL}
    inside = {int(np.prod(t.dims)) for t in model.graph.initializer if t.data_location != TensorProto.EXTERNAL}
    large = {size for size in inside if size >= 5000}
    assert not large & weights
    assert bool(large) == name.startswith(("unposed.fp16", "unposed.bf16"))
