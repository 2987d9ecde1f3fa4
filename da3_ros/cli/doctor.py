# SPDX-License-Identifier: Apache-2.0
"""``da3 doctor``: what this machine can run, and what is missing, in words."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from importlib import metadata

from da3_ros.models import ModelError, find_model, load_zoo

NAME = "doctor"
HELP = "say what this machine can run, and what is missing"

# Module, distribution, what it is for, how to get it.
_PARTS = (
    ("numpy", "numpy", "everything", "pip install numpy"),
    ("cv2", "opencv-python-headless", "images", "pip install opencv-python-headless, or python3-opencv"),
    ("onnxruntime", "onnxruntime", "inference on the CPU", "pip install onnxruntime"),
    ("rclpy", "ros-rclpy", "the live node", "source /opt/ros/<distro>/setup.bash, or `make env`"),
    ("tf2_msgs", "tf2-msgs", "rig extrinsics from TF", "source /opt/ros/<distro>/setup.bash, or `make env`"),
    ("rosbags", "rosbags", "recorded bags without ROS", "pip install rosbags"),
    ("torch", "torch", "export and training only", "pip install torch"),
)
_REQUIRED = {"numpy", "cv2", "onnxruntime"}


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print one line a part; exit code 1 when estimation cannot run."""
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPU cores")
    missing = []
    for module, distribution, purpose, remedy in _PARTS:
        if importlib.util.find_spec(module) is None:
            print(f"  missing {module:<12} for {purpose}: {remedy}")
            missing.append(module)
            continue
        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            version = "installed"
        print(f"  found   {module:<12} {version}, for {purpose}")
    if importlib.util.find_spec("tensorrt") is not None:
        print("  TensorRT is installed, but this version has no TensorRT engine yet: models run on the CPU")
    print("Engine: ONNX Runtime on the CPU" if "onnxruntime" not in missing else "Engine: none")
    here = []
    for name in load_zoo():
        try:
            find_model(name)
            here.append(name)
        except ModelError:
            continue
    print(f"Models on this machine: {', '.join(here) or 'none'}")
    return 1 if _REQUIRED & set(missing) or not here else 0
