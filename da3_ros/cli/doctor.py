# SPDX-License-Identifier: Apache-2.0
"""``da3 doctor``: what this machine can run, and what is missing, in words."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from importlib import metadata

from da3_ros.engines import explain_engines
from da3_ros.engines.engine import EngineError
from da3_ros.engines.guard import find_gpu
from da3_ros.engines.plan import LOG, plans_folder
from da3_ros.models import ModelError, find_model, load_zoo

NAME = "doctor"
HELP = "say what this machine can run, and what is missing"

# Module, distribution, what it is for, how to get it.
_PARTS = (
    ("numpy", "numpy", "everything", "pip install numpy"),
    ("cv2", "opencv-python-headless", "images", "pip install opencv-python-headless, or python3-opencv"),
    ("onnxruntime", "onnxruntime", "inference without a TensorRT plan", "pip install onnxruntime"),
    (
        "tensorrt",
        "tensorrt",
        "fast inference on an NVIDIA GPU",
        "pip install tensorrt; on a Jetson it comes with JetPack",
    ),
    ("openvino", "openvino", "half the time on processors with bfloat16 (AVX512-BF16, AMX)", "pip install openvino"),
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
    print(f"Refinement of depth: {_refinement()}")
    report = find_gpu()
    print(f"GPU: {report.gpu}" if report.gpu else f"GPU: none usable; {report.reason}")
    runs = _models()
    if not runs:
        print(f"Models on this machine: none; known: {', '.join(load_zoo())}")
    return 1 if _REQUIRED & set(missing) or not runs else 0


def _refinement() -> str:
    """Where it runs."""
    if importlib.util.find_spec("cv2") is None:
        return "not without OpenCV"
    import cv2

    try:
        from da3_ros.estimation.refinement.choose import explain_sweep

        sweep = explain_sweep()
    except (ImportError, EngineError) as error:
        sweep = f"not measured: {error}"
    return f"on the CPU, by OpenCV {cv2.__version__}, but for the plane sweep\nPlane sweep: {sweep}"


def _models() -> bool:
    """Say of every model that is here which engine runs it, and why; whether any can run."""
    any_runs = False
    for name in load_zoo():
        try:
            folder = find_model(name)[1]
        except ModelError:
            continue
        print(f"Model {name} in {folder}")
        chosen = False
        for choice in explain_engines(folder):
            verdict = "would run on" if choice.usable and not chosen else "could run on" if choice.usable else "not"
            chosen = chosen or choice.usable
            print(f"  {verdict:<12} {choice.engine}: {choice.reason}")
        any_runs = any_runs or chosen
        log = plans_folder(folder.name) / LOG
        if log.is_file():
            last = json.loads(log.read_text())
            print(f"  last `da3 build`, {last['at']}:")
            for step in last["steps"]:
                print(f"    {step}")
    return any_runs
