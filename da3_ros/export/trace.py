# SPDX-License-Identifier: Apache-2.0
"""From a PyTorch network to an ONNX graph: what goes in, what comes out, what may have any size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from da3_ros.engines.files import KNOWN, OUTPUTS, RAYS, SKY
from da3_ros.network import DepthAnything3
from da3_ros.network.any_view import AnyViewNetwork
from da3_ros.network.base import IMAGE_MEAN, IMAGE_STD
from da3_ros.network.presets import PATCH
from da3_ros.network.single_view import SingleViewNetwork

OPSET = 18
REFERENCE = "first"
"""Reference view of exported graphs: the node puts its anchor camera first, and the choice must not flicker."""
SINGLE_VIEW_OUTPUTS = ["depth", SKY]
"""Outputs of networks that look at each image alone."""
MOST_VIEWS = 64


class ExportedNetwork(nn.Module):
    """The network as it is exported: images (S, H, W, 3) uint8 RGB of one scene, normalised inside."""

    def __init__(self, model: DepthAnything3, rays: bool = False) -> None:
        """rays: whether the ray map is among the outputs. Raises ValueError for a network that has none, and for a
        network of several networks, whose parts are exported alone.
        """
        super().__init__()
        if not isinstance(model, AnyViewNetwork | SingleViewNetwork):
            raise ValueError(
                f"{model.preset.name} consists of two networks: export its parts, an any-view and a metric checkpoint"
            )
        if rays and not isinstance(model, AnyViewNetwork):
            raise ValueError(f"{model.preset.name} looks at each image alone and has no rays: export it without")
        self.model, self.rays = model, rays
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN) * 255)
        self.register_buffer("std", torch.tensor(IMAGE_STD) * 255)

    @property
    def takes_poses(self) -> bool:
        """Whether known cameras can be given."""
        return isinstance(self.model, AnyViewNetwork)

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` returns."""
        if not self.takes_poses:
            return SINGLE_VIEW_OUTPUTS
        return [*OUTPUTS, *RAYS] if self.rays else OUTPUTS

    def forward(
        self, images: Tensor, extrinsics: Tensor | None = None, intrinsics: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Any-view networks return depth, confidence (S, H, W), T_camera_world (S, 3, 4) and intrinsics (S, 3, 3), and
        with `rays` these (S, h, w, 6) and their confidence (S, h, w); others depth and sky (S, H, W), without the rule
        for the depth of the sky, which the engine's caller has.
        """
        x = ((images.float() - self.mean) / self.std).permute(0, 3, 1, 2)[None]
        if isinstance(self.model, SingleViewNetwork):
            out = self.model.head_outputs(x)
            return out["depth"][0], out["sky"][0]
        known: tuple[Tensor, ...] = ()
        if extrinsics is not None and intrinsics is not None:
            known = (extrinsics[None], intrinsics[None])
        out = self.model(x, *known, reference=REFERENCE)
        names = ["depth", "depth_conf", "extrinsics", "intrinsics", *(["ray", "ray_conf"] if self.rays else [])]
        return tuple(out[name][0] for name in names)


def example_inputs(views: int, height: int, width: int, posed: bool, seed: int = 0) -> tuple[Tensor, ...]:
    """Random images, and cameras on a short arc when `posed`, as graph inputs."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (views, height, width, 3), dtype=np.uint8))
    return (images, *example_cameras(views, height, width)) if posed else (images,)


def example_cameras(views: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """T_camera_world (S, 4, 4) on a short arc, and intrinsics (S, 3, 3)."""
    extrinsics = torch.eye(4).repeat(views, 1, 1)
    angle = torch.arange(views) * 0.1
    extrinsics[:, 0, 0] = extrinsics[:, 2, 2] = angle.cos()
    extrinsics[:, 0, 2], extrinsics[:, 2, 0] = angle.sin(), -angle.sin()
    extrinsics[:, 0, 3] = torch.arange(views) * -0.5
    k = torch.tensor([[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]])
    return extrinsics, k.repeat(views, 1, 1)


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
        shapes.update(extrinsics={0: views}, intrinsics={0: views})
    example = example_inputs(3, height, width, posed)
    if scenes:
        several = Dim("scenes", min=1, max=MOST_VIEWS)
        shapes = {name: {0: several, **{i + 1: side for i, side in sides.items()}} for name, sides in shapes.items()}
        example = tuple(torch.stack([value, value]) for value in example)
    # The exporter prints its progress and warns of things that do not concern this graph.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            example,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=["images", *(KNOWN if posed else ())],
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
