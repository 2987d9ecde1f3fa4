# SPDX-License-Identifier: Apache-2.0
"""ORB-SLAM3 in RGB-D mode, by its Python binding `pyorbslam3` (GPL-3.0), in a process of its own.

The binding is installed by pip into a folder of its own in the user's cache when it is first needed, and is seen by
that process alone. Nothing of this project links to it or imports it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry import CameraModel

PACKAGE = "pyorbslam3==0.1.1"
CACHE = Path.home() / ".cache" / "da3_ros" / "consumers"
PROCESS = Path(__file__).with_name("orb_process.py")
BASELINE, CLOSE = 0.0745, 40.0
"""Metres of the stereo pair that ORB-SLAM3 takes depth to come from, and how many of them are near: those of its own
settings for a RealSense, which it is not told otherwise here.
"""
FEATURES = 1250
"""Of an image, from the same file."""
LIMIT = 900
"""Seconds that a run may take."""


class OrbSlam3Error(RuntimeError):
    """ORB-SLAM3 cannot be installed or did not come to an end; says why."""


@dataclass(frozen=True)
class Tracked:
    """What a run gave."""

    trajectory: Path
    """TUM: stamp, position and quaternion of T_start_camera, a line a frame that was tracked; may be empty."""
    states: tuple[str, ...]
    """ORB-SLAM3's state after each frame."""
    milliseconds: float
    """Median of a frame."""

    @property
    def tracked(self) -> int:
        """Frames after which it knew where it was."""
        return sum(state == "OK" for state in self.states)


def installed(cache: Path = CACHE) -> Path:
    """Folder with the binding, put there by pip where it is not yet. Raises OrbSlam3Error where pip has none."""
    folder = cache / f"{PACKAGE.replace('==', '-')}-{sys.implementation.cache_tag}"
    if importlib.util.find_spec("pyorbslam3") is not None:
        return folder  # the user has installed it
    if not (folder / "pyorbslam3" / "__init__.py").exists():
        print(f"  pip installs {PACKAGE} (GPL-3.0) into {folder}", flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OrbSlam3Error(
                f"pip has no {PACKAGE} for this machine: {done.stderr.strip()[-300:]}; it has wheels for Linux on "
                "x86-64 and Python 3.9 to 3.13"
            )
    return folder


def settings_text(camera: CameraModel, hertz: float) -> str:
    """ORB-SLAM3's settings for images without distortion and depth in metres. hertz: of the frames."""
    values: dict[str, str | float | int] = {
        "File.version": '"1.0"',
        "Camera.type": '"PinHole"',
        **{f"Camera1.{name}": float(getattr(camera, name)) for name in ("fx", "fy", "cx", "cy")},
        "Camera.width": camera.width,
        "Camera.height": camera.height,
        "Camera.fps": max(1, round(hertz)),
        "Camera.RGB": 1,
        "Stereo.ThDepth": CLOSE,
        "Stereo.b": BASELINE,
        "RGBD.DepthMapFactor": 1.0,
        "ORBextractor.nFeatures": FEATURES,
        "ORBextractor.scaleFactor": 1.2,
        "ORBextractor.nLevels": 8,
        "ORBextractor.iniThFAST": 20,
        "ORBextractor.minThFAST": 7,
        # Nobody looks, but it will not start without them.
        "Viewer.KeyFrameSize": 0.05,
        "Viewer.KeyFrameLineWidth": 1.0,
        "Viewer.GraphLineWidth": 0.9,
        "Viewer.PointSize": 2.0,
        "Viewer.CameraSize": 0.08,
        "Viewer.CameraLineWidth": 3.0,
        "Viewer.ViewpointX": 0.0,
        "Viewer.ViewpointY": -0.7,
        "Viewer.ViewpointZ": -3.5,
        "Viewer.ViewpointF": 500.0,
    }
    return "\n".join(["%YAML:1.0", "---", *(f"{name}: {value}" for name, value in values.items()), ""])


def write_input(
    folder: Path,
    camera: CameraModel,
    grey: NDArray[np.uint8],
    depths: Iterable[NDArray[np.float32]],
    stamps: NDArray[np.float64],
) -> None:
    """What the process reads. grey: (N, H, W); depths: (H, W) metres a frame, not finite for unknown; stamps: (N,)
    seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = (len(stamps), camera.height, camera.width)
    np.save(folder / "images.npy", grey)
    np.save(folder / "stamps.npy", stamps)
    kept = np.lib.format.open_memmap(str(folder / "depths.npy"), mode="w+", dtype=np.float32, shape=shape)
    for number, depth in enumerate(depths):
        kept[number] = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))
    kept.flush()
    hertz = 1 / float(np.median(np.diff(stamps)))
    (folder / "settings.yaml").write_text(settings_text(camera, hertz))


def track(folder: Path, vocabulary: Path, binding: Path, pace: float = 1.0) -> Tracked:
    """Run it on what `write_input` wrote. pace: how many times as fast as the stamps frames come at most.

    Raises OrbSlam3Error with the end of its output where it fails.
    """
    trajectory = folder / "trajectory.txt"
    trajectory.unlink(missing_ok=True)
    paths = [str(binding), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(PROCESS), str(folder), str(vocabulary), str(pace)]
    with (folder / "log.txt").open("w") as log:
        try:
            done = subprocess.run(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise OrbSlam3Error(f"ORB-SLAM3 did not come to an end in {LIMIT} s; see {log.name}") from error
    if done.returncode or not trajectory.exists():
        end = (folder / "log.txt").read_text(errors="replace").strip()[-300:]
        raise OrbSlam3Error(f"ORB-SLAM3 ended with {done.returncode}: {end}")
    found = json.loads((folder / "states.json").read_text())
    return Tracked(trajectory, tuple(found["states"]), float(found["milliseconds"]))
