# SPDX-License-Identifier: Apache-2.0
"""Names of a model's graph files and of what goes in and out of a graph."""

from __future__ import annotations

PRECISIONS = ("fp32", "bf16", "fp16")
"""Number formats that graphs are exported in. A graph carries its types, so each has a file of its own."""

KINDS = ("unposed", "posed")
"""Graphs of a model: cameras unknown, cameras known."""

KNOWN = ("known_extrinsics", "known_intrinsics")
"""Further inputs of the graph for known cameras: T_camera_world (S, 4, 4) and intrinsics (S, 3, 3) in pixels."""

MASK = "known_cameras"
"""Further input of that graph (S,) float32: 1 for cameras that are known, 0 for those whose values are to be ignored.
Graphs of early exports lack it, and take scenes alone of which all cameras are known."""

OUTPUTS = ["depth", "confidence", "extrinsics", "intrinsics"]

RAYS = ["rays", "ray_confidence"]
"""Further outputs of graphs exported with them: the ray map, at 8/14 of the image's size."""

GAUSSIANS = "gaussians"
"""Further output of graphs exported with it (S, H, W, R + 1): what the Gaussian head says of each pixel, opacity last;
see `da3_ros.geometry.gaussians.world_gaussians`."""

SKY = "sky"
"""Output of graphs of networks that look for it: nested ones, and those that look at each image alone, whose only other
output is the depth."""

METRIC_SCALE = "metric_scale"
"""Output of graphs of nested networks (1,): metres in one unit of the other outputs, 0 where the images do not tell."""

SKY_THRESHOLD = 0.3
"""Value of that output from which on a pixel is sky."""


def graph_name(kind: str, precision: str = "fp32") -> str:
    """File name of a graph: ``unposed.onnx``, ``unposed.fp16.onnx``. Raises ValueError for an unknown name."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    return f"{kind}.onnx" if precision == "fp32" else f"{kind}.{precision}.onnx"


def cpu_graph_name(kind: str) -> str:
    """File name of the float32 graph with ONNX Runtime's own operators: ``unposed.cpu.onnx``."""
    return f"{graph_name(kind).removesuffix('.onnx')}.cpu.onnx"


def scenes_graph_name(kind: str, *, cpu: bool = False) -> str:
    """File name of the float32 graph for several scenes at once: ``unposed.scenes.onnx``; cpu: as `cpu_graph_name`."""
    return f"{graph_name(kind).removesuffix('.onnx')}.scenes{'.cpu' if cpu else ''}.onnx"


PLAIN, POSED = (graph_name(kind) for kind in KINDS)
