# SPDX-License-Identifier: Apache-2.0
"""What others say of their speed, on their hardware. Not measured by us; no ratio is formed across hardware."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One figure that somebody has published."""

    what: str
    hardware: str
    value: str
    source: str


PAPER = "Depth Anything 3, arXiv 2511.10647"
FIGURES = (
    Figure("da3-small, 32 images of 504x336 in one set", "A100 80 GB", "160.5 images/s", PAPER),
    Figure("da3-base, the same", "A100 80 GB", "126.5 images/s", PAPER),
    Figure("da3-large, the same", "A100 80 GB", "78.4 images/s", PAPER),
    Figure("da3-giant, the same", "A100 80 GB", "37.6 images/s", PAPER),
    Figure("VGGT, the same", "A100 80 GB", "34.1 images/s", PAPER),
    Figure("Large of Depth Anything 3, one image of 504x504, PyTorch with TF32", "RTX 4090", "72.9 ms",
           "lightly-train, pull request 824"),
    Figure("the same, TensorRT fp16", "RTX 4090", "46.5 ms", "lightly-train, pull request 824"),
    Figure("DA3METRIC-LARGE, one image of 504x280, TensorRT fp16, whole node", "Quadro RTX 6000", "50 images/s",
           "ika-rwth-aachen/ros2-depth-anything-v3-trt, README"),
    Figure("da3-small, one image of 518x518, TensorRT 10.3 fp16", "Jetson Orin NX 16 GB", "25.0 ms",
           "GerdsenAI's ROS 2 wrapper, docs/JETSON_BENCHMARKS.md"),
    Figure("da3-base, the same", "Jetson Orin NX 16 GB", "51.4 ms",
           "GerdsenAI's ROS 2 wrapper, docs/JETSON_BENCHMARKS.md"),
)  # fmt: skip
