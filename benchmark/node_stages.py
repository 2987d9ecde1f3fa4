# SPDX-License-Identifier: Apache-2.0
"""What the node does to each camera's frame, the network left out: ``python benchmark/node_stages.py``.

Cameras of 1280x720 in one process, the node in another, on one core, with depth and cloud of each camera subscribed to
over DDS. Its engine runs the model once and then gives that answer again at once, so that nothing overlaps with it. The
times come from the node's own topic `latency`: decode (messages to images, look-up of transforms), preprocess, scale,
poses, post (range, confidence), publish (arrays to messages, serialised).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(1, str(ROOT / "test" / "helpers"))

if TYPE_CHECKING:
    from da3_ros.engines import Engine, RawEstimate
    from da3_ros.estimation import EstimatorConfig

WIDTH, HEIGHT = 1280, 720
STAGES = ("decode", "preprocess", "scale", "poses", "post", "publish")
CASES: tuple[tuple[str, dict[str, str]], ...] = (
    ("raw, depth of the network's size", {}),
    ("raw, depth of the camera's size", {"depth.resolution": "camera"}),
    ("JPEG, depth of the network's size", {"transport": "compressed"}),
    ("raw, scale from matches of the rig", {"scale.source": "rig"}),
)


def picture() -> NDArray[np.uint8]:
    """The left view of the Motorcycle pair (500, 741, 3), RGB."""
    return np.ascontiguousarray(data.stereo_motorcycle()[0][..., :3])


def serve() -> int:
    """The node, on one core, with an engine that answers at once."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from da3_ros.estimation import Estimator
    from da3_ros.node.multi_cam import main as run

    class Repeating:
        """An engine that runs once for each shape of its input."""

        def __init__(self, engine: Engine) -> None:
            self.engine, self.info = engine, engine.info
            self.answers: dict[tuple[int, ...], RawEstimate] = {}

        def __getattr__(self, name: str) -> object:
            return getattr(self.engine, name)

        def run(
            self,
            images: NDArray[np.uint8],
            extrinsics: NDArray[np.float32] | None = None,
            intrinsics: NDArray[np.float32] | None = None,
            known: NDArray[np.bool_] | None = None,
        ) -> RawEstimate:
            if images.shape not in self.answers:
                self.answers[images.shape] = self.engine.run(images, extrinsics, intrinsics, known)
            return self.answers[images.shape]

    def load(model: str | Path, config: EstimatorConfig | None = None) -> Estimator:
        estimator = Estimator.from_model(model, config)
        estimator.engine = Repeating(estimator.engine)
        return estimator

    return run(sys.argv[2:], load)


def measure(cameras: int, seconds: float, changes: dict[str, str]) -> dict[str, float]:
    """Median milliseconds of every stage of a set, and `frames`, the number of frames that came."""
    from ros_peer import Peer, next_domain

    from da3_ros.geometry import CameraModel

    names = [f"camera{i}" for i in range(cameras)]
    changes = {"scale.source": "given", **changes}
    transport = changes.pop("transport", "raw")
    parameters = {"cameras": f"[{', '.join(names)}]", **{f"{name}.transport": transport for name in names}, **changes}
    domain = next_domain()
    command = [sys.executable, str(Path(__file__).resolve()), "--serve", "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    left, right, _ = data.stereo_motorcycle()
    pair = [np.ascontiguousarray(cv2.resize(i[..., :3], (WIDTH, 863))[70 : 70 + HEIGHT]) for i in (left, right)]
    with Peer(domain) as peer:
        peer.collect("/da3/latency", "diagnostic_msgs/msg/DiagnosticArray", profile="DEFAULT")
        for name in names:
            peer.collect(f"/da3/{name}/depth/image_rect", "sensor_msgs/msg/Image", profile="SENSOR_DATA")
            peer.collect(f"/da3/{name}/points", "sensor_msgs/msg/PointCloud2", profile="SENSOR_DATA")
        node = subprocess.Popen(command, env={**os.environ, "ROS_DOMAIN_ID": str(domain)}, stdout=subprocess.DEVNULL)
        try:
            peer.wait(lambda: peer.node.count_subscribers(f"/{names[-1]}/camera_info"), 60, "the node")
            focal = 994.978 * WIDTH / left.shape[1]
            rig = {}
            for i, name in enumerate(names):
                rig["base_link", f"{name}_optical"] = pose = np.eye(4)
                pose[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
                pose[1, 3] = -0.193 * i
            peer.send_static(rig)
            shots = [cv2.imencode(".jpg", image[..., ::-1])[1].tobytes() for image in pair]
            end = time.monotonic() + seconds
            while time.monotonic() < end or len(peer.received["/da3/latency"]) < 10:
                stamp = peer.now_ns()
                for i, name in enumerate(names):
                    cx = (311.193, 342.279)[i % 2] * WIDTH / left.shape[1]
                    peer.send_info(name, CameraModel.pinhole(WIDTH, HEIGHT, focal, focal, cx, 370.0), stamp)
                    if transport == "raw":
                        peer.send_image(name, pair[i % 2], stamp)
                    else:
                        peer.send_compressed(name, shots[i % 2], stamp)
                for topic in peer.received:
                    if topic != "/da3/latency":
                        peer.received[topic].clear()
                time.sleep(0.2)
        finally:
            node.terminate()
            node.wait(20)
        sets = [
            {pair.key: float(pair.value) for pair in message.status[0].values}
            for message in peer.received["/da3/latency"][5:]  # after it has warmed up
        ]
    return {**{s: statistics.median(times[f"{s}_ms"] for times in sets) for s in STAGES}, "frames": cameras * len(sets)}


def main() -> int:
    """Print the stages of one camera's frame; exit code 1 if the first case is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case")
    parser.add_argument("--limit", type=float, default=8.0, help="milliseconds a camera")
    arguments = parser.parse_args()
    print(f"{arguments.cameras} cameras of {WIDTH}x{HEIGHT}, depth and cloud of each subscribed to, node on one core")
    print("milliseconds a camera, medians")
    print(f"{'case':<36}" + "".join(f"{stage:>11}" for stage in (*STAGES, "sum", "frames")))
    first = None
    for title, changes in CASES:
        times = measure(arguments.cameras, arguments.seconds, changes)
        each = [times[stage] / arguments.cameras for stage in STAGES]
        first = sum(each) if first is None else first
        print(f"{title:<36}" + "".join(f"{ms:11.2f}" for ms in (*each, sum(each))) + f"{times['frames']:11.0f}")
    print(f"first case: {first:.2f} ms a camera (limit {arguments.limit:g})")
    return 0 if first is not None and first <= arguments.limit else 1


if __name__ == "__main__":
    sys.exit(serve() if "--serve" in sys.argv else main())
