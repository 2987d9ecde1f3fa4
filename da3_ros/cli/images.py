# SPDX-License-Identifier: Apache-2.0
"""``da3 images``: geometry of image files, without ROS."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from da3_ros.estimation import Estimator, EstimatorConfig, ScaleConfig, View, ViewSet
from da3_ros.geometry import CameraModel
from da3_ros.visual import depth_to_color

NAME = "images"
HELP = "estimate depth, confidence and cameras of image files of one scene"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--model", default="da3-nano", help="name or folder of the model")
    parser.add_argument("--size", type=int, default=0, help="longest side of the network's input, 0: recommended")
    parser.add_argument(
        "--camera",
        nargs=4,
        type=float,
        metavar=("FX", "FY", "CX", "CY"),
        help="intrinsics of all images, in pixels",
    )
    parser.add_argument("--metres-per-unit", type=float, help="known scale; without it depth is relative")


def run(arguments: argparse.Namespace) -> int:
    """Write NAME.npz (depth, confidence, K, T_world_camera) and NAME.png (coloured depth) for every image."""
    views = []
    for path in arguments.images:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise ValueError(f"{path} is not an image that OpenCV can read")
        h, w = bgr.shape[:2]
        camera = CameraModel.pinhole(w, h, *arguments.camera) if arguments.camera else None
        views.append(View(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), camera, name=path.stem))
    given = arguments.metres_per_unit
    scale = ScaleConfig(source="given", value=given) if given else ScaleConfig(source="none")
    estimator = Estimator.from_model(arguments.model, EstimatorConfig(size=arguments.size, scale=scale))
    estimate = estimator(ViewSet(views))
    arguments.output.mkdir(parents=True, exist_ok=True)
    for view in estimate.views:
        target = arguments.output / view.name
        np.savez_compressed(
            f"{target}.npz",
            depth=view.depth,
            confidence=view.confidence,
            K=view.camera.K,
            T_world_camera=view.pose.T_world_camera,
            metric=estimate.scale.metric,
        )
        cv2.imwrite(f"{target}.png", cv2.cvtColor(depth_to_color(view.depth), cv2.COLOR_RGB2BGR))
        print(f"{target}.npz  {view.depth.shape[1]}x{view.depth.shape[0]}  {'metres' if given else 'relative'}")
    return 0
