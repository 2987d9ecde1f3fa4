# SPDX-License-Identifier: Apache-2.0
"""What identifies an ONNX graph: its own bytes and those of the weight files it points into.

Reads the protobuf wire format directly (onnx.proto: ModelProto.graph = 7, .metadata_props = 14, GraphProto.initializer
= 5, .input = 11, ValueInfoProto.name = 1, TensorProto.external_data = 13, StringStringEntryProto.key = 1, .value = 2),
so that a robot needs no ``onnx``.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from da3_ros.engines.engine import EngineError
from da3_ros.engines.files import KINDS, graph_name

_GRAPH, _METADATA, _INITIALIZER, _EXTERNAL, _INPUT = 7, 14, 5, 13, 11
_CHUNK = 1 << 22
_SETTLED_NS = 2_000_000_000
"""A file younger than this may change once more without a change of its time, which file systems keep in steps."""


@dataclass(frozen=True)
class GraphFile:
    """One exported graph."""

    path: Path
    sha256: str
    """Of the graph file alone."""
    weights_sha256: str
    """Over the external weight files in order of name, empty where the graph holds its weights itself."""
    weights: tuple[Path, ...]
    metadata: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> GraphFile:
        """Read and hash a graph with its weights. Raises EngineError when a file is missing or not ONNX."""
        path = Path(path)
        if not path.is_file():
            raise EngineError(f"there is no {path}: make it with `da3 export`")
        content = path.read_bytes()
        try:
            locations, metadata = _scan(memoryview(content))
        except (ValueError, IndexError) as error:
            raise EngineError(f"{path} is not an ONNX graph ({error}): export it again") from error
        weights = tuple(path.parent / name for name in sorted(locations))
        total = hashlib.sha256()
        for file in weights:
            if not file.is_file():
                raise EngineError(f"{path} needs its weights file {file}: copy it there, or export again")
            total.update(hash_file(file).encode())
        digest = total.hexdigest() if weights else ""
        return cls(path, hashlib.sha256(content).hexdigest(), digest, weights, metadata)


def graph_kinds(folder: Path) -> list[str]:
    """Kinds of the graphs of a model's folder. Raises EngineError where there is none for unknown cameras."""
    kinds = [kind for kind in KINDS if (folder / graph_name(kind)).is_file()]
    if KINDS[0] not in kinds:
        raise EngineError(f"{folder} has no {graph_name(KINDS[0])}: make it with `da3 export {folder}`")
    return kinds


def input_names(path: Path) -> tuple[str, ...]:
    """Names of a graph's inputs; empty where there is no such file. Raises EngineError for what is not ONNX."""
    if not path.is_file():
        return ()
    try:
        graphs = [value for number, value in _fields(memoryview(path.read_bytes())) if number == _GRAPH]
        inputs = [value for graph in graphs for number, value in _fields(graph) if number == _INPUT]
        return tuple(bytes(dict(_fields(value)).get(1, b"")).decode() for value in inputs)
    except (ValueError, IndexError) as error:
        raise EngineError(f"{path} is not an ONNX graph ({error}): export it again") from error


def hash_file(path: Path) -> str:
    """SHA-256 of a file, computed once while its size and time stay the same."""
    found = path.stat()
    if time.time_ns() - found.st_mtime_ns < _SETTLED_NS:
        return _digest(path)
    return _remembered(path.resolve(), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _remembered(path: Path, size: int, mtime_ns: int) -> str:
    return _digest(path)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _scan(model: memoryview) -> tuple[set[str], dict[str, str]]:
    """Locations of external weights, and the metadata of a serialised ModelProto."""
    locations: set[str] = set()
    metadata: dict[str, str] = {}
    graphs = 0
    for number, value in _fields(model):
        if number == _METADATA:
            key, text = _entry(value)
            metadata[key] = text
        elif number == _GRAPH:
            graphs += 1
            for inner, tensor in _fields(value):
                if inner != _INITIALIZER:
                    continue
                entries = dict(_entry(v) for n, v in _fields(tensor) if n == _EXTERNAL)
                if "location" in entries:
                    locations.add(entries["location"])
    if graphs != 1:
        raise ValueError(f"it holds {graphs} graphs")
    return locations, metadata


def _entry(message: memoryview) -> tuple[str, str]:
    values = dict(_fields(message))
    return bytes(values.get(1, b"")).decode(), bytes(values.get(2, b"")).decode()


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of every length-delimited field; other fields are skipped."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("it is cut short")
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            raise ValueError(f"unknown wire type {kind}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("bad number")
