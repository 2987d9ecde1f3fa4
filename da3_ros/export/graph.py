# SPDX-License-Identifier: Apache-2.0
"""Export of a checkpoint: two graphs, cameras unknown and cameras known, that share the checkpoint's weights.

Numbers of views and image size stay open. The graphs take uint8 RGB images as they come from a camera, and hold only
what the node publishes: rays and everything that leads to them alone are pruned.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from da3_ros.engines.onnxruntime import KNOWN, OUTPUTS, PLAIN, POSED
from da3_ros.export.weights import link_weights
from da3_ros.network import DepthAnything3, load_checkpoint
from da3_ros.network.checkpoint import CONFIG, WEIGHTS
from da3_ros.network.model import IMAGE_MEAN, IMAGE_STD
from da3_ros.network.presets import PATCH

log = logging.getLogger(__name__)

OPSET = 18
REFERENCE = "first"
"""Reference view of exported graphs: the node puts its anchor camera first, and the choice must not flicker."""


class _Graph(nn.Module):
    """The network as it is exported: images (S, H, W, 3) uint8 RGB of one scene."""

    def __init__(self, model: DepthAnything3) -> None:
        super().__init__()
        self.model = model
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN) * 255)
        self.register_buffer("std", torch.tensor(IMAGE_STD) * 255)

    def forward(
        self, images: Tensor, extrinsics: Tensor | None = None, intrinsics: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Returns depth, confidence (S, H, W), T_camera_world (S, 3, 4) and intrinsics (S, 3, 3)."""
        x = ((images.float() - self.mean) / self.std).permute(0, 3, 1, 2)[None]
        known: tuple[Tensor, ...] = ()
        if extrinsics is not None and intrinsics is not None:
            known = (extrinsics[None], intrinsics[None])
        out = self.model(x, *known, reference=REFERENCE)
        return out["depth"][0], out["depth_conf"][0], out["extrinsics"][0], out["intrinsics"][0]


def export_checkpoint(checkpoint: str | Path, output: str | Path, tolerance: float = 1e-3) -> dict[str, float]:
    """Write ``unposed.onnx`` and ``posed.onnx`` of a checkpoint folder to folder `output`, next to its weights.

    Both are run by ONNX Runtime on images of a size other than the export's and compared with torch. Returns the
    largest relative difference of each graph's outputs. Raises CheckpointError for a bad checkpoint and ValueError
    when a difference exceeds `tolerance`; the files are then removed.
    """
    checkpoint, output = Path(checkpoint), Path(output)
    model = load_checkpoint(checkpoint)
    output.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, CONFIG):
        if checkpoint.resolve() != output.resolve():
            shutil.copyfile(checkpoint / name, output / name)
    digest = hashlib.sha256((output / WEIGHTS).read_bytes()).hexdigest()
    differences = {}
    for name in (PLAIN, POSED):
        log.info("exporting %s", name)
        proto = _trace(model, posed=name == POSED)
        link_weights(proto, output / WEIGHTS)
        for key, value in {
            "da3.model": output.name,
            "da3.preset": model.preset.name,
            "da3.patch": str(PATCH),
            "da3.reference": REFERENCE,
            "da3.weights_sha256": digest,
        }.items():
            entry = proto.metadata_props.add()
            entry.key, entry.value = key, value
        onnx.save_model(proto, str(output / name))
        differences[name] = compare_with_torch(output / name, model, posed=name == POSED)
        log.info("%s differs from torch by %.1e", name, differences[name])
        if not differences[name] <= tolerance:
            (output / name).unlink()
            raise ValueError(f"{name} differs from torch by {differences[name]:.2e}, allowed is {tolerance:.0e}")
    return differences


def example_inputs(views: int, height: int, width: int, posed: bool, seed: int = 0) -> tuple[Tensor, ...]:
    """Random images, and cameras on a short arc when `posed`, as graph inputs."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (views, height, width, 3), dtype=np.uint8))
    if not posed:
        return (images,)
    extrinsics = torch.eye(4).repeat(views, 1, 1)
    angle = torch.arange(views) * 0.1
    extrinsics[:, 0, 0] = extrinsics[:, 2, 2] = angle.cos()
    extrinsics[:, 0, 2], extrinsics[:, 2, 0] = angle.sin(), -angle.sin()
    extrinsics[:, 0, 3] = torch.arange(views) * -0.5
    k = torch.tensor([[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]])
    return images, extrinsics, k.repeat(views, 1, 1)


def compare_with_torch(path: Path, model: DepthAnything3, posed: bool) -> float:
    """Largest difference between a graph's outputs and torch's, relative to each output's largest value."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for views, height, width in ((1, 7 * PATCH, 10 * PATCH), (3, 6 * PATCH, 8 * PATCH)):
        inputs = example_inputs(views, height, width, posed, seed=views)
        with torch.no_grad():
            expected = _Graph(model)(*inputs)
        names = ["images", *KNOWN]
        got = session.run(OUTPUTS, {n: x.numpy() for n, x in zip(names[: len(inputs)], inputs, strict=True)})
        for a, b in zip(got, expected, strict=True):
            reference = b.numpy()
            worst = max(worst, float(np.abs(a - reference).max() / np.abs(reference).max()))
    return worst


def _trace(model: DepthAnything3, posed: bool) -> onnx.ModelProto:
    views = Dim("views", min=1, max=64)
    rows, columns = Dim("patch_rows", min=2, max=128), Dim("patch_columns", min=2, max=128)
    shapes = {"images": {0: views, 1: PATCH * rows, 2: PATCH * columns}}
    if posed:
        shapes.update(extrinsics={0: views}, intrinsics={0: views})
    inputs = example_inputs(3, 8 * PATCH, 11 * PATCH, posed)
    # The exporter prints its progress and warns of things that do not concern this graph.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        noisy = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
        levels = [logger.level for logger in noisy]
        for logger in noisy:
            logger.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                _Graph(model).eval(),
                inputs,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=["images", *(KNOWN if posed else ())],
                output_names=OUTPUTS,
                opset_version=OPSET,
                external_data=False,
                optimize=True,
            )
        finally:
            for logger, level in zip(noisy, levels, strict=True):
                logger.setLevel(level)
    assert program is not None  # it is None only without dynamo
    proto = program.model_proto
    # Source lines and module paths of every node would be most of the file.
    for node in proto.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del proto.graph.value_info[:]
    return proto
