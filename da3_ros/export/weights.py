# SPDX-License-Identifier: Apache-2.0
"""Graphs that read their weights from the checkpoint's own safetensors file.

A safetensors file is a header and then plain tensors, so ONNX external data can point into it. One file of weights
then serves torch and every graph, and a graph cannot disagree with its checkpoint.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SMALLEST = 1024
"""Initialisers with fewer elements stay inside the graph."""

MOST_PIECES = 4
"""Pieces that the exporter may have cut a stored tensor into. Two are the camera tokens."""

_TYPES = {"F32": (np.float32, TensorProto.FLOAT), "F16": (np.float16, TensorProto.FLOAT16)}


class StoredTensor(NamedTuple):
    """Where a tensor lies in the file, and its values."""

    name: str
    kind: int
    offset: int
    length: int
    values: NDArray


def read_layout(path: Path) -> list[StoredTensor]:
    """Tensors of a safetensors file with their byte offsets; raises ValueError for a type other than F32 or F16."""
    blob = np.memmap(path, dtype=np.uint8, mode="r")
    (header_length,) = struct.unpack("<Q", bytes(blob[:8]))
    header = json.loads(bytes(blob[8 : 8 + header_length]))
    out = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _TYPES:
            raise ValueError(f"{path}: {name} has type {entry['dtype']}; graphs can use {', '.join(_TYPES)}")
        dtype, kind = _TYPES[entry["dtype"]]
        begin, end = (8 + header_length + o for o in entry["data_offsets"])
        values = np.frombuffer(blob[begin:end], dtype=dtype).reshape(entry["shape"])
        out.append(StoredTensor(name, kind, begin, end - begin, values))
    return out


def link_weights(model: onnx.ModelProto, weights: Path, computed: bool = False) -> int:
    """Replace the large float initialisers of `model` by references into `weights`; returns how many.

    A stored tensor is put in as it is, followed by a Transpose where the exporter had transposed it and a Cast where
    it is stored in half precision: engines fold both when they load the graph. computed: large initialisers that are
    not in the file stay in the graph, since the exporter may work them out ahead (position embeddings of a fixed size);
    otherwise ValueError is raised for one. Pieces of stored tensors always stay: the exporter cuts the learned tokens.
    """
    layout = read_layout(weights)
    by_size: dict[int, list[StoredTensor]] = {}
    for tensor in layout:
        by_size.setdefault(tensor.values.size, []).append(tensor)
    graph = model.graph
    kept, linked, front = [], {}, []
    for initialiser in graph.initializer:
        size = int(np.prod(initialiser.dims))
        if initialiser.data_type != TensorProto.FLOAT or size < SMALLEST:
            kept.append(initialiser)
            continue
        values = numpy_helper.to_array(initialiser)
        found = _find(values, by_size.get(size, []))
        if found is None and (computed or _is_cut(values, layout)):
            kept.append(initialiser)
            continue
        if found is None:
            raise ValueError(f"{initialiser.name} {tuple(initialiser.dims)} is not in {weights}: export again")
        stored, permutation = found
        linked[stored.name] = _reference(stored, weights.name)
        front += _restore(stored, permutation, initialiser)
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept + list(linked.values()))
    graph.node.extend(front + nodes)
    return len(linked)


def _is_cut(values: NDArray, layout: list[StoredTensor]) -> bool:
    """Whether the values are one of up to `MOST_PIECES` equal pieces of a stored tensor, in its order."""
    n = values.size
    tensors = [t for t in layout if t.values.size % n == 0 and 1 < t.values.size // n <= MOST_PIECES]
    return any((t.values.reshape(-1, n).astype(np.float32) == values.ravel()).all(axis=1).any() for t in tensors)


def _find(values: NDArray, candidates: list[StoredTensor]) -> tuple[StoredTensor, tuple[int, ...] | None] | None:
    for stored in candidates:
        as_float = stored.values.astype(np.float32)
        if as_float.shape == values.shape and np.array_equal(as_float, values):
            return stored, None
        if values.ndim == 2 and as_float.T.shape == values.shape and np.array_equal(as_float.T, values):
            return stored, (1, 0)
        if np.array_equal(as_float.ravel(), values.ravel()):
            return stored, tuple(values.shape)
    return None


def _reference(stored: StoredTensor, file_name: str) -> TensorProto:
    tensor = TensorProto(name=_graph_name(stored), data_type=stored.kind, dims=stored.values.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file_name), ("offset", stored.offset), ("length", stored.length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor


def _graph_name(stored: StoredTensor) -> str:
    """Name of the stored tensor in the graph; the exporter may use the plain key itself."""
    return f"stored.{stored.name}"


def _restore(
    stored: StoredTensor, permutation: tuple[int, ...] | None, initialiser: TensorProto
) -> list[onnx.NodeProto]:
    """Nodes that turn the stored tensor into the initialiser they replace."""
    name, target = _graph_name(stored), initialiser.name
    nodes = []
    casts = stored.kind != TensorProto.FLOAT
    if permutation == (1, 0) and len(initialiser.dims) == 2:
        out = f"{target}.transposed" if casts else target
        nodes.append(helper.make_node("Transpose", [name], [out], perm=[1, 0]))
        name = out
    elif permutation is not None:
        raise ValueError(f"{target}: the exporter reshaped {stored.name} to {permutation}, which is not supported")
    if casts:
        nodes.append(helper.make_node("Cast", [name], [target], to=TensorProto.FLOAT))
    if not nodes:  # stored in float32 under another name
        nodes.append(helper.make_node("Identity", [name], [target]))
    return nodes
