# SPDX-License-Identifier: Apache-2.0
"""Plan files: a TensorRT engine behind a header of our own that says what it was built from, for and how well it does.

TensorRT itself checks little before it deserialises a plan, and a plan of another graph loads without a word. So the
header is read and compared first:

    magic (8 bytes) | length of the JSON (8 bytes, little endian) | JSON | payload of TensorRT
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from da3_ros.atomic import write_atomically
from da3_ros.engines.engine import EngineError
from da3_ros.engines.files import KINDS, PRECISIONS
from da3_ros.engines.graph_file import GraphFile
from da3_ros.engines.guard import Gpu

MAGIC = b"DA3PLAN\x01"
SUFFIX = ".plan"
SWEEP = "sweep"
"""Kind of the plans of the plane sweep, and name of their folder: they belong to no model."""
LOG = "build.json"
"""What the last build did, in words, beside the plans: ``at`` and a list of ``steps``."""
ENVIRONMENT = "DA3_PLANS"
"""Environment variable with the folder of all plans."""
_LONGEST_HEADER = 1 << 20


class PlanError(EngineError):
    """A plan file cannot be used; the message says why and what to do."""


class Shape(NamedTuple):
    """One input shape that a plan is built for: views, and height and width in pixels."""

    views: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.views} view{'s' if self.views != 1 else ''} of {self.height}x{self.width}"


@dataclass(frozen=True)
class Flags:
    """What the builder was told beside the shapes."""

    tf32: bool = False
    """Whether float32 arithmetic may round to 10 bits of mantissa."""
    version_compatible: bool = False
    """Runs on later TensorRT versions of the same major version, slower."""
    hardware_compatible: bool = False
    """Runs on every GPU of compute capability 8.0 or more, slower; not on Jetson."""
    workspace_bytes: int = 0
    """Limit of scratch memory, 0: TensorRT's own (all of the GPU)."""


@dataclass(frozen=True)
class PlanKey:
    """Everything that decides whether a plan fits. Two plans of the same key are interchangeable."""

    model: str
    kind: str
    precision: str
    graph_sha256: str
    weights_sha256: str
    tensorrt: str
    gpu: str
    capability: str
    multiprocessors: int
    shapes: tuple[Shape, ...]
    flags: Flags = field(default_factory=Flags)

    def digest(self) -> str:
        """Hash of the whole key."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def file_name(self) -> str:
        """Name of the plan's file."""
        return f"{self.kind}.{self.precision}.{self.digest()[:16]}{SUFFIX}"

    def same_gpu(self, other: PlanKey) -> bool:
        """Whether both were built for one kind of GPU."""
        mine, its = ((key.gpu, key.capability, key.multiprocessors) for key in (self, other))
        return mine == its


@dataclass(frozen=True)
class PlanHeader:
    """What is written in front of the payload."""

    key: PlanKey
    payload_bytes: int
    payload_sha256: str
    patch: int
    """Patch size of the network in pixels."""
    build: dict[str, Any] = field(default_factory=dict)
    """For people: seconds, activation memory, driver, date."""
    gate: dict[str, Any] = field(default_factory=dict)
    """The accuracy gate's report; ``passed`` must be true for the plan to be used."""


def plans_folder(model: str) -> Path:
    """Folder of a model's plans: ``$DA3_PLANS``, else the user's cache. Plans belong to a machine, not to a model."""
    root = os.environ.get(ENVIRONMENT)
    return (Path(root) if root else Path.home() / ".cache" / "da3_ros" / "plans") / model


def plan_key(
    graph: GraphFile, kind: str, precision: str, tensorrt: str, gpu: Gpu, shapes: tuple[Shape, ...], flags: Flags
) -> PlanKey:
    """Key of a graph's plan on this machine; tensorrt: its full version."""
    return PlanKey(
        model=graph.metadata.get("da3.model", graph.path.parent.name),
        kind=kind,
        precision=precision,
        graph_sha256=graph.sha256,
        weights_sha256=graph.weights_sha256,
        tensorrt=tensorrt,
        gpu=gpu.name,
        capability=gpu.capability,
        multiprocessors=gpu.multiprocessors,
        shapes=shapes,
        flags=flags,
    )


def write_plan(path: Path, header: PlanHeader, payload: bytes) -> None:
    """Write a plan so that no reader ever sees half of it: temporary file in the same folder, fsync, rename."""
    text = json.dumps(asdict(header), sort_keys=True).encode()
    write_atomically(path, MAGIC + len(text).to_bytes(8, "little") + text, payload)


def read_header(path: Path) -> PlanHeader:
    """Header of a plan file, without its payload. Raises PlanError for anything that is not whole."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                raise PlanError(f"{path} is not a plan of this package (a trtexec engine?): make one with `da3 build`")
            length = int.from_bytes(stream.read(8), "little")
            if not 0 < length <= _LONGEST_HEADER:
                raise PlanError(f"{path} has a damaged header: delete it and run `da3 build`")
            header = _parse(json.loads(stream.read(length)))
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise PlanError(f"{path} has a damaged or foreign header ({error}): delete it and run `da3 build`") from error
    whole = len(MAGIC) + 8 + length + header.payload_bytes
    if size != whole:
        raise PlanError(f"{path} is truncated: {size} bytes of {whole}; delete it and run `da3 build`")
    return header


def read_payload(path: Path, header: PlanHeader) -> bytes:
    """Payload of a plan file; raises PlanError when it is not the one that the header was written for."""
    with open(path, "rb") as stream:
        stream.seek(-header.payload_bytes, os.SEEK_END)
        payload = stream.read()
    if hashlib.sha256(payload).hexdigest() != header.payload_sha256:
        raise PlanError(f"{path} is damaged (its checksum differs): delete it and run `da3 build`")
    return payload


def _parse(values: dict[str, Any]) -> PlanHeader:
    key = dict(values.pop("key"))
    key["shapes"] = tuple(Shape(*(int(n) for n in shape)) for shape in key["shapes"])
    key["flags"] = Flags(**key["flags"])
    header = PlanHeader(key=PlanKey(**key), **values)
    if header.key.kind not in (*KINDS, SWEEP) or header.key.precision not in PRECISIONS:
        raise ValueError(f"kind {header.key.kind!r}, precision {header.key.precision!r}")
    return header


def mismatch(header: PlanHeader, graph: GraphFile, tensorrt: str, gpu: Gpu) -> str:
    """Why a plan must not run here, in words; empty when it fits."""
    key, flags = header.key, header.key.flags
    if key.graph_sha256 != graph.sha256:
        return f"it was built from another {graph.path.name} (the graph was exported again)"
    if key.weights_sha256 != graph.weights_sha256:
        return f"it was built from other weights ({', '.join(f.name for f in graph.weights)} changed)"
    same_major = flags.version_compatible and _major(key.tensorrt) == _major(tensorrt)
    if key.tensorrt != tensorrt and not same_major:
        return f"it was built by TensorRT {key.tensorrt}, here is {tensorrt}"
    here = (gpu.name, gpu.capability, gpu.multiprocessors)
    if (key.gpu, key.capability, key.multiprocessors) != here and not (flags.hardware_compatible and gpu.major >= 8):
        return (
            f"it was built on {key.gpu} ({key.capability}, {key.multiprocessors} multiprocessors), "
            f"here is {gpu.name} ({gpu.capability}, {gpu.multiprocessors} multiprocessors)"
        )
    if not header.gate.get("passed"):
        return f"it has not passed the accuracy gate ({header.gate.get('verdict', 'it was never asked')})"
    return ""


def _major(version: str) -> str:
    return version.partition(".")[0]


@contextmanager
def build_lock(folder: Path) -> Iterator[None]:
    """Hold the right to build into `folder`; raises PlanError at once when another process holds it.

    The kernel lets go of it when the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with open(path, "a+", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            raise PlanError(f"another build (process {owner}) is writing to {folder}: wait for it to end") from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
