# SPDX-License-Identifier: Apache-2.0
"""A second form of a graph for ONNX Runtime on a CPU, with its own operators for attention and GELU.

The standard form spells attention as MatMul, Softmax, MatMul, so that TensorRT can recognise it; on a CPU that stores
every score of every pair of tokens (2163 tokens of three views, 6 heads: 112 MB, read and written three times). ONNX
Runtime's own operator works through them in blocks that stay in the cache.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

DOMAIN = "com.microsoft"


class FusionError(ValueError):
    """A graph does not have the form that is expected of our exporter."""


def fuse_for_cpu(model: onnx.ModelProto) -> int:
    """Replace attention and GELU in `model` by ONNX Runtime's operators; returns the number of attentions.

    The model must still have the shapes of its values, as the exporter noted them. Attention with a mask, which is over
    a handful of cameras, stays as it is. Raises FusionError where a Softmax is not part of an attention of known form.
    """
    graph = _Graph(model)
    softmaxes = [node for node in model.graph.node if node.op_type == "Softmax"]
    attentions = [softmax for softmax in softmaxes if not graph.is_masked(softmax)]
    for softmax in attentions:
        graph.fuse_attention(softmax)
    for erf in [node for node in model.graph.node if node.op_type == "Erf"]:
        graph.fuse_gelu(erf)
    graph.rebuild()
    if not any(entry.domain == DOMAIN for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return len(attentions)


class _Graph:
    """Who makes and who reads each value of a graph, and what replaces which node."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = graph = model.graph
        self._shapes = _known_shapes(model)
        self._makers = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self._readers[name].append(node)
        self._instead: dict[str, list[NodeProto]] = {}

    def is_masked(self, softmax: NodeProto) -> bool:
        """Whether a mask is added to the scores of an attention."""
        node = self._makers.get(softmax.input[0])
        return node is not None and node.op_type == "Add" and self._maker(node.input[0], "MatMul") is not None

    def fuse_attention(self, softmax: NodeProto) -> None:
        scores = self._maker(softmax.input[0], "MatMul")
        query = self._maker(scores.input[0], "Mul").input[0]
        key = self._untransposed(self._maker(scores.input[1], "Mul").input[0])
        weighted = self._reader(softmax.output[0], "MatMul")
        merged = self._reader(self._reader(weighted.output[0], "Transpose").output[0], "Reshape")
        prefix = softmax.name or softmax.output[0]
        heads, width = self._heads(weighted.output[0])
        shape = numpy_helper.from_array(np.array([0, 0, width], np.int64), f"{prefix}.tokens")
        self._graph.initializer.append(shape)
        self._instead[merged.output[0]] = [
            helper.make_node("Transpose", [query], [f"{prefix}.query"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"{prefix}.query", shape.name], [f"{prefix}.flat"]),
            helper.make_node(
                "MultiHeadAttention",
                [f"{prefix}.flat", key, weighted.input[1]],
                [merged.output[0]],
                domain=DOMAIN,
                num_heads=heads,
            ),
        ]

    def fuse_gelu(self, erf: NodeProto) -> None:
        source = self._maker(erf.input[0], "Div").input[0]
        half = self._reader(self._reader(erf.output[0], "Add").output[0], "Mul")
        whole = self._reader(half.output[0], "Mul")
        if source not in whole.input:
            raise FusionError(f"{erf.name}: not the exact GELU")
        self._instead[whole.output[0]] = [helper.make_node("Gelu", [source], [whole.output[0]], domain=DOMAIN)]

    def rebuild(self) -> None:
        """Put the replacements in and leave out what nobody reads any more."""
        nodes: list[NodeProto] = []
        for node in self._graph.node:
            nodes += self._instead.get(node.output[0], [node])
        needed = {output.name for output in self._graph.output}
        kept = []
        for node in reversed(nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        constants = [t for t in self._graph.initializer if t.name in needed]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(reversed(kept))
        self._graph.initializer.extend(constants)

    def _maker(self, name: str, kind: str) -> NodeProto:
        node = self._makers.get(name)
        if node is None or node.op_type != kind:
            raise FusionError(f"{name} is made by {node.op_type if node else 'nothing'}, expected {kind}")
        return node

    def _reader(self, name: str, kind: str) -> NodeProto:
        nodes = self._readers[name]
        if len(nodes) != 1 or nodes[0].op_type != kind:
            raise FusionError(f"{name} is read by {[n.op_type for n in nodes]}, expected one {kind}")
        return nodes[0]

    def _untransposed(self, name: str) -> str:
        """Keys (N, heads, T, d) before the exporter flattened, transposed and unflattened them."""
        flat = self._maker(self._maker(name, "Reshape").input[0], "Transpose")
        return str(self._maker(flat.input[0], "Reshape").input[0])

    def _heads(self, values: str) -> tuple[int, int]:
        """Number of heads and width of the tokens of attention values (N, heads, T, d)."""
        shape = self._shapes.get(values, ())
        if len(shape) != 4 or not shape[1] or not shape[3]:
            raise FusionError(f"{values} has shape {shape}, expected (N, heads, T, d) with fixed heads and d")
        return shape[1], shape[1] * shape[3]


def _known_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Sides of every value that the exporter noted, 0 where they are open."""
    return {
        value.name: tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
        for value in model.graph.value_info
    }
