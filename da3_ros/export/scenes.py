# SPDX-License-Identifier: Apache-2.0
"""Graphs for several scenes at once: all inputs and outputs have a dimension of scenes before all others.

They lie beside the other graphs and share their weights. In float32 alone: for ONNX Runtime, on any of its providers.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from da3_ros.engines.files import KINDS, scenes_graph_name
from da3_ros.export.fused import fuse_for_cpu
from da3_ros.export.graph import TOLERANCE, Case, Difference, compare_with_torch
from da3_ros.export.trace import REFERENCE, ExportedNetwork, example_inputs, strip, trace
from da3_ros.export.weights import link_weights
from da3_ros.network import load_checkpoint
from da3_ros.network.any_view import AnyViewNetwork
from da3_ros.network.checkpoint import WEIGHTS
from da3_ros.network.presets import PATCH


class ScenesNetwork(ExportedNetwork):
    """The network as it is exported for several scenes: images (B, S, H, W, 3) uint8 RGB."""

    def forward(
        self,
        images: Tensor,
        extrinsics: Tensor | None = None,
        intrinsics: Tensor | None = None,
        known: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Outputs of `ExportedNetwork`, with the dimension of scenes before theirs."""
        x = ((images.float() - self.mean) / self.std).permute(0, 1, 4, 2, 3)
        mask = None if known is None else known > 0.5
        out = self.model(x, extrinsics, intrinsics, known=mask, reference=REFERENCE, rays=self.rays)
        return tuple(value for _, value in self.named(out))


def export_scenes(
    checkpoint: str | Path, output: str | Path, size: tuple[int, int] | None = None
) -> dict[str, Difference]:
    """Write the graphs for several scenes to folder `output`, where `export_checkpoint` wrote the others; returns how
    far each is from torch.

    size: as of `export_checkpoint`. Raises ValueError for a network that looks at each image alone (its graphs take any
    number of images anyway) or consists of several, and for a difference beyond the tolerance.
    """
    output = Path(output)
    model = load_checkpoint(Path(checkpoint))
    if not isinstance(model, AnyViewNetwork):
        raise ValueError(f"{model.preset.name} needs no graphs for several scenes, or has none: export it without")
    network = ScenesNetwork(model).eval()
    differences = {}
    for kind in KINDS:
        proto = trace(network, kind == "posed", size, scenes=True)
        link_weights(proto, output / WEIGHTS, computed=size is not None)
        fused = copy.deepcopy(proto)
        fuse_for_cpu(fused)
        cases = _cases(network, kind == "posed", size)
        for name, graph in ((scenes_graph_name(kind), proto), (scenes_graph_name(kind, cpu=True), fused)):
            strip(graph)
            path = output / name
            onnx.save_model(graph, str(path))
            found = compare_with_torch(path, cases)
            if not found.largest <= TOLERANCE["fp32"]:
                path.unlink()
                raise ValueError(
                    f"{name} differs from torch by {found.largest:.2e}, allowed is {TOLERANCE['fp32']:.0e}"
                )
            differences[name] = found
    return differences


def _cases(network: ScenesNetwork, posed: bool, size: tuple[int, int] | None) -> list[Case]:
    """Different random scenes, of numbers and sizes other than the export's."""
    height, width = size or (6 * PATCH, 8 * PATCH)
    cases = []
    for count, views in ((3, 2), (1, 3)):
        scenes = [example_inputs(views, height, width, posed, seed=seed) for seed in range(count)]
        inputs = tuple(torch.stack(values) for values in zip(*scenes, strict=True))
        with torch.no_grad():
            outputs = [value.numpy().astype(np.float32) for value in network(*inputs)]
        cases.append(Case(inputs, dict(zip(network.outputs, outputs, strict=True))))
    return cases
