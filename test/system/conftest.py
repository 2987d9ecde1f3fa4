# SPDX-License-Identifier: Apache-2.0
"""The real node as a process of its own, and a stereo rig that looks at a real scene."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from da3_ros.geometry import CameraModel
from da3_ros.models import ModelError, find_model

ROOT = Path(__file__).resolve().parents[2]
MODEL = "da3-nano"
SIZE = 140  # pixels of the network's input: the wiring is tested, not the quality


def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid.startswith("test/system/"):
            item.add_marker(pytest.mark.system)


class NodeProcess:
    """`python -m da3_ros.node`, or another program in its place, with parameters."""

    def __init__(self, domain, log, *, params_file=None, program=("-m", "da3_ros.node"), **parameters):
        self.log = log
        command = [sys.executable, *map(str, program), "--ros-args"]
        if params_file is not None:
            command += ["--params-file", str(params_file)]
        for name, value in {"model": MODEL, "inference.size": SIZE, **parameters}.items():
            command += ["-p", f"{name}:={value}"]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=file, stderr=file, stdin=subprocess.DEVNULL
            )

    @property
    def output(self):
        return self.log.read_text()

    def is_alive(self):
        return self.process.poll() is None

    def resources(self):
        """What must not grow: resident memory in bytes, threads, open files."""
        folder = Path(f"/proc/{self.process.pid}")
        pages = int((folder / "statm").read_text().split()[1])
        return (
            pages * os.sysconf("SC_PAGE_SIZE"),
            len(list((folder / "task").iterdir())),
            len(list((folder / "fd").iterdir())),
        )

    def stop(self, number=signal.SIGINT):
        """Send a signal; returns (return code, seconds until the end)."""
        begin = time.monotonic()
        self.process.send_signal(number)
        try:
            code = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = None
        return code, time.monotonic() - begin


@dataclass
class Rig:
    """A node, its peer, and two calibrated cameras that send one picture again and again."""

    node: NodeProcess
    peer: Any
    images: dict
    cameras: dict
    poses: dict
    sent: list = field(default_factory=list)

    def send(self, names=("left", "right"), stamp_ns=None):
        """Images and calibrations of the named cameras with one stamp; returns the stamp."""
        stamp = self.peer.now_ns() if stamp_ns is None else stamp_ns
        for name in names:
            self.peer.send_info(name, self.cameras[name], stamp)
            self.peer.send_image(name, self.images[name], stamp)
        self.sent.append(stamp)
        return stamp

    def feed_until(self, condition, what, *, send=None, period=0.15, timeout=40.0):
        """Send sets until the condition holds; the node must stay alive."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert self.node.is_alive(), self.node.output
            assert time.monotonic() < deadline, f"{what} did not come:\n{self.peer.diagnostics()}\n{self.node.output}"
            (send or self.send)()
            time.sleep(period)

    def settle(self):
        """Feed until cameras and scale are well, then forget what came before: sets from before the rig was
        known.
        """

        def is_well():
            statuses = self.peer.diagnostics()
            well = statuses and all(statuses[name][0] == 0 for name in (*self.cameras, "scale"))
            return well and statuses["scale"][2].get("metric") == "true"  # before the first set all is well, too

        self.feed_until(is_well, "a clean status of cameras and a metric scale")
        for messages in self.peer.received.values():
            messages.clear()

    def connect(self, *, with_rig=True):
        """Wait until the node listens to both cameras; send its rig, unless told otherwise."""
        count = self.peer.node.count_subscribers
        self.peer.wait(
            lambda: (
                all(count(f"/{n}/image_raw") or count(f"/{n}/image_raw/compressed") for n in self.cameras)
                or not self.node.is_alive()
            ),
            timeout=40,
            what="the node's subscriptions",
        )
        assert self.node.is_alive(), self.node.output
        if with_rig:
            self.send_rig()

    def send_rig(self):
        """Calibrated poses of the cameras, as a latched message."""
        self.peer.send_static({("base_link", f"{name}_optical"): pose for name, pose in self.poses.items()})


def motorcycle(width):
    """The Middlebury Motorcycle pair at a width: images, cameras, and poses on a robot."""
    data = pytest.importorskip("skimage.data")
    left, right, _ = data.stereo_motorcycle()
    full = {
        # Focal length, principal points and baseline as published with the pair.
        "left": CameraModel.pinhole(left.shape[1], left.shape[0], 994.978, 994.978, 311.193, 254.877),
        "right": CameraModel.pinhole(left.shape[1], left.shape[0], 994.978, 994.978, 342.279, 254.877),
    }
    height = round(left.shape[0] * width / left.shape[1])
    images = {
        name: cv2.resize(image[..., :3], (width, height), interpolation=cv2.INTER_AREA)
        for name, image in (("left", left), ("right", right))
    }
    cameras = {name: camera.scaled(width, height) for name, camera in full.items()}
    # Optical axes in the body: z ahead, x to the right; the right camera stands 0.193 m to the right.
    pose = np.array([[0.0, 0, 1, 0.1], [-1, 0, 0, 0.0965], [0, -1, 0, 1.2], [0, 0, 0, 1]])
    other = pose.copy()
    other[1, 3] -= 0.193001
    return images, cameras, {"left": pose, "right": other}


@pytest.fixture(scope="module")
def model():
    """The shipped model; tests that need it fail by name where it is missing."""
    try:
        return find_model(MODEL)
    except ModelError as error:
        pytest.fail(f"{MODEL} is part of the package: {error}")


@pytest.fixture(scope="module")
def start(tmp_path_factory, model):
    """Start a node with parameters and a rig around it; all end with the module."""
    pytest.importorskip("rclpy")
    from ros_peer import Peer, next_domain

    made = []

    def make(*, width=370, **parameters):
        domain = next_domain()
        log = tmp_path_factory.mktemp("node") / "log.txt"
        special = {name: parameters.pop(name) for name in ("params_file", "program") if name in parameters}
        options = {"diagnostics.period": 0.25, "cameras": "[left, right]"}
        options.update({name.replace("__", "."): value for name, value in parameters.items()})
        node = NodeProcess(domain, log, **special, **options)
        peer = Peer(domain)
        peer.collect("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
        made.append(Rig(node, peer, *motorcycle(width)))
        return made[-1]

    yield make
    for rig in made:
        if rig.node.is_alive():
            rig.node.stop()
        rig.peer.__exit__()
