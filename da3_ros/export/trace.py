# SPDX-License-Identifier: Apache-2.0
"""From a PyTorch network to an ONNX graph: what goes in, what comes out, what may have any size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from da3_ros.engines.files import GAUSSIANS, KNOWN, MASK, METRIC_SCALE, OUTPUTS, RAYS, SKY
from da3_ros.geometry.gaussians import RAW, RAW_OPACITY
from da3_ros.network import DepthAnything3
from da3_ros.network.base import IMAGE_MEAN, IMAGE_STD
from da3_ros.network.nested import NestedNetwork
from da3_ros.network.presets import PATCH, NestedPreset
from da3_ros.network.single_view import SingleViewNetwork

OPSET = 18
REFERENCE = "first"
"""Reference view of exported graphs: the node puts its anchor camera first, and the choice must not flicker."""
SINGLE_VIEW_OUTPUTS = ["depth", SKY]
"""Outputs of networks that look at each image alone."""
MOST_VIEWS = 64
_NAMES = {"confidence": "depth_conf", "rays": "ray", "ray_confidence": "ray_conf"}
"""Outputs that the networks call otherwise."""


class ExportedNetwork(nn.Module):
    """The network as it is exported: images (S, H, W, 3) uint8 RGB of one scene, normalised inside."""

    def __init__(self, model: DepthAnything3, rays: bool = False, gaussians: bool = False) -> None:
        """rays, gaussians: whether the ray map and the Gaussian head are among the outputs. Raises ValueError for a
        network that has none.
        """
        super().__init__()
        if rays and isinstance(model, SingleViewNetwork):
            raise ValueError(f"{model.preset.name} looks at each image alone and has no rays: export it without")
        if gaussians and not has_gaussians(model):
            raise ValueError(f"{model.preset.name} has no Gaussian head: export it without, or da3-giant with it")
        self.model, self.rays, self.gaussians = model, rays, gaussians
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN) * 255)
        self.register_buffer("std", torch.tensor(IMAGE_STD) * 255)

    @property
    def takes_poses(self) -> bool:
        """Whether known cameras can be given."""
        return not isinstance(self.model, SingleViewNetwork)

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` returns."""
        if not self.takes_poses:
            return SINGLE_VIEW_OUTPUTS
        nested = [SKY, METRIC_SCALE] if isinstance(self.model, NestedNetwork) else []
        return [*OUTPUTS, *nested, *(RAYS if self.rays else []), *([GAUSSIANS] if self.gaussians else [])]

    def forward(
        self,
        images: Tensor,
        extrinsics: Tensor | None = None,
        intrinsics: Tensor | None = None,
        known: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Estimate images (S, H, W, 3); the others are `KNOWN` and `MASK` of `da3_ros.engines.files`.

        Any-view networks return depth, confidence (S, H, W), T_camera_world (S, 3, 4) and intrinsics (S, 3, 3), and
        with `rays` these (S, h, w, 6) and their confidence (S, h, w), with `gaussians` the raw ones (S, H, W, R + 1),
        opacity last. Nested ones also return, before these, sky (S, H, W) and the metres in one unit of the other
        lengths (1,), 0 where the images do not tell. Others return depth and sky (S, H, W). The rule for the depth of
        the sky is left to the engine's caller.
        """
        x = ((images.float() - self.mean) / self.std).permute(0, 3, 1, 2)[None]
        if isinstance(self.model, SingleViewNetwork):
            out = self.model.head_outputs(x)
            return out["depth"][0], out["sky"][0]
        further: dict[str, Any] = {"in_units": True} if isinstance(self.model, NestedNetwork) else {}
        if extrinsics is not None and intrinsics is not None:
            further |= {"extrinsics": extrinsics[None], "intrinsics": intrinsics[None]}
            if known is not None:
                further["known"] = known[None] > 0.5
        out = self.model(x, **further, reference=REFERENCE, rays=self.rays, gaussians=self.gaussians)
        if self.gaussians:
            out[GAUSSIANS] = torch.cat([out[RAW], out[RAW_OPACITY][..., None]], dim=-1)
        return tuple(value if name == METRIC_SCALE else value[0] for name, value in self.named(out))

    def named(self, out: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
        """Names of `outputs`, and what the network gave for them, with its dimension of scenes."""
        return [(name, out[_NAMES.get(name, name)]) for name in self.outputs]


def has_gaussians(model: DepthAnything3) -> bool:
    """Whether a network has a Gaussian head."""
    preset = model.preset.any_view if isinstance(model.preset, NestedPreset) else model.preset
    return preset.gaussian_degree is not None


def example_inputs(views: int, height: int, width: int, posed: bool, seed: int = 0) -> tuple[Tensor, ...]:
    """Random images, and when `posed` cameras as `example_cameras`, as graph inputs."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (views, height, width, 3), dtype=np.uint8))
    return (images, *example_cameras(views, height, width)) if posed else (images,)


def example_cameras(views: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """T_camera_world (S, 4, 4) on a short arc, intrinsics (S, 3, 3), and which are known (S,): every third is not."""
    extrinsics = torch.eye(4).repeat(views, 1, 1)
    angle = torch.arange(views) * 0.1
    extrinsics[:, 0, 0] = extrinsics[:, 2, 2] = angle.cos()
    extrinsics[:, 0, 2], extrinsics[:, 2, 0] = angle.sin(), -angle.sin()
    extrinsics[:, 0, 3] = torch.arange(views) * -0.5
    k = torch.tensor([[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]])
    return extrinsics, k.repeat(views, 1, 1), (torch.arange(views) % 3 != 2).float()


def trace(
    network: ExportedNetwork, posed: bool, size: tuple[int, int] | None = None, *, scenes: bool = False
) -> onnx.ModelProto:
    """ONNX graph of a network, with its weights inside and the shapes of all values noted.

    The number of views is open (up to 64); so are height and width, or they are `size` (H, W), multiples of 14. scenes:
    whether the network takes several scenes, in a dimension before all others, open as well.
    """
    views = Dim("views", min=1, max=MOST_VIEWS)
    shapes: dict[str, dict[int, object]] = {"images": {0: views}}
    if size is None:
        rows, columns = Dim("patch_rows", min=2, max=128), Dim("patch_columns", min=2, max=128)
        shapes["images"] |= {1: PATCH * rows, 2: PATCH * columns}
    height, width = size or (8 * PATCH, 11 * PATCH)
    if posed:
        shapes.update(extrinsics={0: views}, intrinsics={0: views}, known={0: views})
    example = example_inputs(3, height, width, posed)
    if scenes:
        several = Dim("scenes", min=1, max=MOST_VIEWS)
        shapes = {name: {0: several, **{i + 1: side for i, side in sides.items()}} for name, sides in shapes.items()}
        example = tuple(torch.stack([value, value]) for value in example)
    # The exporter prints its progress and warns of things that do not concern this graph. Gradients cost it time.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            example,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=["images", *((*KNOWN, MASK) if posed else ())],
            output_names=network.outputs,
            opset_version=OPSET,
            external_data=False,
            optimize=True,
        )
    assert program is not None  # it is None only without dynamo
    proto = program.model_proto
    _ask_floats_for_their_shape(proto)
    return proto


def _ask_floats_for_their_shape(proto: onnx.ModelProto) -> None:
    """Let Shape read the images after their cast: TensorRT takes uint8 for a Cast alone."""
    image = proto.graph.input[0].name
    cast = next(node for node in proto.graph.node if node.op_type == "Cast" and node.input[0] == image)
    others = [node for node in proto.graph.node if node is not cast]
    for node in others:
        if node.op_type == "Shape" and node.input[0] == image:
            node.input[0] = cast.output[0]
    first = onnx.NodeProto()
    first.CopyFrom(cast)
    del proto.graph.node[:]
    proto.graph.node.extend([first, *others])


def strip(proto: onnx.ModelProto) -> None:
    """Leave out source lines and module paths of every node, which would be most of the file, and inner shapes."""
    for node in proto.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del proto.graph.value_info[:]


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [logger.level for logger in noisy]
    for logger in noisy:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
