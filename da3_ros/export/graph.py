# SPDX-License-Identifier: Apache-2.0
"""Export of a checkpoint: graphs that share the checkpoint's weights, each checked against torch.

For cameras unknown and cameras known, in float32 and, where asked for, with the large products in 16 bits; for CPUs
also with fused operators. The graphs take uint8 RGB images as they come from a camera, and hold only what the node
publishes: rays, Gaussians and everything that leads to them alone are left out, unless they are asked for.
"""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from da3_ros.engines.files import KINDS, KNOWN, MASK, PRECISIONS, cpu_graph_name, graph_name
from da3_ros.engines.graph_file import hash_file
from da3_ros.export.fused import fuse_for_cpu
from da3_ros.export.precision import lower_precision
from da3_ros.export.trace import REFERENCE, ExportedNetwork, example_cameras, example_inputs, strip, trace
from da3_ros.export.weights import link_weights
from da3_ros.network import load_checkpoint
from da3_ros.network.checkpoint import CONFIG, WEIGHTS
from da3_ros.network.presets import PATCH

log = logging.getLogger(__name__)

_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
TOLERANCE = {"fp32": 1e-3, "bf16": 0.05, "fp16": 0.01}
"""Difference from the float32 network that an export may have: of every output, relative to its largest value, in
float32; in 16 bits the mean of the relative difference of depth."""


@dataclass(frozen=True)
class Difference:
    """How far a graph is from the float32 network in torch."""

    largest: float
    """Over all outputs, relative to each output's largest value."""
    depth: float
    """Mean relative difference of depth."""
    scale: float
    """Median ratio of depths, less one: a drift of the scale."""


def export_checkpoint(
    checkpoint: str | Path,
    output: str | Path,
    precisions: Sequence[str] = ("fp32",),
    size: tuple[int, int] | None = None,
    images: NDArray[np.uint8] | None = None,
    tolerance: float | None = None,
    kinds: Sequence[str] = KINDS,
    *,
    rays: bool = False,
    gaussians: bool = False,
) -> dict[str, Difference]:
    """Write the graphs of a checkpoint folder to folder `output`, next to its weights; returns their differences.

    precisions: of ``fp32``, ``bf16`` and ``fp16``. size: (H, W) in multiples of 14 for graphs of that size alone, which
    TensorRT runs faster; None for any size. images: (S, H, W, 3) uint8 to compare on, besides random ones. tolerance:
    instead of TOLERANCE. kinds: ``unposed``, and ``posed`` where the network can be given cameras. rays: with the ray
    map, which ``pose.source: rays`` needs. gaussians: with the Gaussian head.

    Every graph is run by ONNX Runtime and compared with torch. Raises CheckpointError for a bad checkpoint and
    ValueError for a wrong argument or a difference beyond the tolerance, whose file is then removed.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    for precision in precisions:
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r} is unknown; allowed: {', '.join(PRECISIONS)}")
    if size is not None and (min(size) < PATCH or any(side % PATCH for side in size)):
        raise ValueError(f"size {size[0]}x{size[1]} must be positive multiples of {PATCH}")
    model = load_checkpoint(checkpoint)
    kinds = [kind for kind in kinds if kind == "unposed" or ExportedNetwork(model).takes_poses]
    output.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, CONFIG):
        if checkpoint.resolve() != output.resolve():
            shutil.copyfile(checkpoint / name, output / name)
    metadata = {
        "da3.model": output.resolve().name,
        "da3.preset": model.preset.name,
        "da3.patch": str(PATCH),
        "da3.reference": REFERENCE,
        "da3.weights_sha256": hash_file(output / WEIGHTS),
    }
    network = ExportedNetwork(model, rays, gaussians).eval()
    cases = {kind: example_cases(network, kind == "posed", size, images) for kind in kinds}
    differences = {}
    for precision in precisions:
        lowered = ExportedNetwork(lower_precision(model, precision), rays, gaussians)
        for kind in kinds:
            name = graph_name(kind, precision)
            log.info("exporting %s", name)
            proto = trace(lowered, kind == "posed", size)
            link_weights(proto, output / WEIGHTS, computed=size is not None)
            forms = {name: proto}
            if precision == "fp32":
                forms[cpu_graph_name(kind)] = fused = copy.deepcopy(proto)
                fuse_for_cpu(fused)
            for form, graph in forms.items():
                _write(graph, output / form, {**metadata, "da3.precision": precision})
                found = compare_with_torch(output / form, cases[kind])
                allowed = TOLERANCE[precision] if tolerance is None else tolerance
                # In 16 bits small constants (biases) are rounded in the graph too.
                _check(output / form, found.largest if precision == "fp32" else found.depth, allowed)
                if precision != "fp32":
                    found = compare_precision(lowered, cases[kind])
                    _check(output / form, found.depth, allowed)
                differences[form] = found
    return differences


def _check(path: Path, difference: float, allowed: float) -> None:
    if not difference <= allowed:
        path.unlink()
        raise ValueError(f"{path.name} differs from torch by {difference:.2e}, allowed is {allowed:.0e}")


def _write(proto: onnx.ModelProto, path: Path, metadata: dict[str, str]) -> None:
    strip(proto)
    for key, value in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save_model(proto, str(path))


class Case(NamedTuple):
    """Inputs to compare on, and what the float32 network makes of them."""

    inputs: tuple[torch.Tensor, ...]
    outputs: dict[str, NDArray[np.float32]]


def example_cases(
    network: ExportedNetwork, posed: bool, size: tuple[int, int] | None, images: NDArray[np.uint8] | None
) -> list[Case]:
    """Random images of sizes other than the export's (unless its size is fixed), and `images`."""
    shapes = [(1, *size), (2, *size)] if size else [(1, 7 * PATCH, 10 * PATCH), (3, 6 * PATCH, 8 * PATCH)]
    inputs = [example_inputs(*shape, posed, seed=shape[0]) for shape in shapes]
    if images is not None:
        inputs.append((torch.from_numpy(images), *(example_cameras(*images.shape[:3]) if posed else ())))
    return [Case(example, _run(network, example)) for example in inputs]


def _run(network: ExportedNetwork, inputs: tuple[torch.Tensor, ...]) -> dict[str, NDArray[np.float32]]:
    with torch.no_grad():
        return dict(zip(network.outputs, (tensor.numpy() for tensor in network(*inputs)), strict=True))


def compare_with_torch(path: Path, cases: list[Case]) -> Difference:
    """A graph on ONNX Runtime beside the float32 network.

    A graph in 16 bits is compared with its types widened to float32: ONNX Runtime's CPU has no bfloat16 and takes
    float16 for float32 anyhow, so that this shows whether the graph computes the right thing. What the 16 bits cost is
    shown by `compare_precision`.
    """
    import onnxruntime

    proto = onnx.load(str(path), load_external_data=False)
    widened = path
    if _widen(proto):
        widened = path.with_name(f".{path.name}.widened")
        onnx.save_model(proto, str(widened))
    try:
        session = onnxruntime.InferenceSession(str(widened), providers=["CPUExecutionProvider"])
    finally:
        if widened != path:
            widened.unlink()
    names = ["images", *KNOWN, MASK]

    def run(case: Case) -> dict[str, NDArray[np.float32]]:
        feed = {name: x.numpy() for name, x in zip(names[: len(case.inputs)], case.inputs, strict=True)}
        return dict(zip(case.outputs, session.run(list(case.outputs), feed), strict=True))

    return _difference(run, cases)


def compare_precision(lowered: ExportedNetwork, cases: list[Case]) -> Difference:
    """The network in 16 bits beside the one in float32, both in torch."""
    return _difference(lambda case: _run(lowered, case.inputs), cases)


def _difference(run: Callable[[Case], dict[str, NDArray[np.float32]]], cases: list[Case]) -> Difference:
    worst, depths, ratios = 0.0, [], []
    for case in cases:
        got = run(case)
        for name, expected in case.outputs.items():
            largest = max(float(np.abs(expected).max()), 1e-6)
            worst = max(worst, float(np.abs(got[name] - expected).max()) / largest)
        ratio = got["depth"] / case.outputs["depth"]
        depths.append(float(np.abs(ratio - 1).mean()))
        ratios.append(float(np.median(ratio)))
    return Difference(worst, float(np.mean(depths)), max(ratios, key=lambda r: abs(r - 1)) - 1)


def _widen(proto: onnx.ModelProto) -> bool:
    """Make every 16-bit type of a graph float32; False where there is none besides stored weights."""
    changed = False
    for node in proto.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in _HALF:
                attribute.i, changed = TensorProto.FLOAT, True
    for tensor in proto.graph.initializer:
        if tensor.data_type in _HALF and tensor.data_location != TensorProto.EXTERNAL:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return changed
