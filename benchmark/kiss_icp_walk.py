# SPDX-License-Identifier: Apache-2.0
"""KISS-ICP, a LiDAR odometry that knows nothing of us, on the clouds that ``da3 bag`` made of a rendered walk: read
with its own rosbag loader, and compared with the truth by evo. ``python benchmark/kiss_icp_walk.py``; ``--frames 60``
is quick.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evo.core.trajectory import PoseTrajectory3D
from kiss_icp.config import KISSConfig
from kiss_icp.datasets.rosbag import RosbagDataset
from kiss_icp.kiss_icp import KissICP
from tqdm import tqdm
from walk import add_arguments, walk_of
from walk_bag import PERIOD_NS, START_NS, trajectory_error, write_walk_bag

from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess

TOPIC = "/da3/camera/points"


def main() -> int:
    """Print its error; exit code 1 where it read another number of clouds than there are images."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--overlap", type=int, default=4)
    parser.add_argument("--size", type=int, default=0, help="longest side of the network's input; 0: recommended")
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--voxel", type=float, default=0.06, help="KISS-ICP's voxel, in the unit of depth")
    parser.add_argument("--keep", type=Path, default=None, help="folder for the bags")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    walk = walk_of(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        source, output = folder / "walk", folder / "clouds"
        if not source.exists():
            write_walk_bag(walk, source)
        options = Options(outputs=("camera/points", "odometry"), chunk=arguments.chunk, overlap=arguments.overlap)
        assignments = (f"inference.size:={arguments.size}",)
        with tqdm(total=len(walk.images), unit="set", desc="da3 bag") as bar:
            reprocess(
                Request(source, output, assignments=assignments, model=arguments.model, options=options),
                progress=lambda done, most: bar.update(done - bar.n),
            )
        found, count = _kiss_icp(output, arguments.voxel)
    length = np.linalg.norm(np.diff(walk.poses[:, :3, 3], axis=0), axis=1).sum()
    rmse, largest, (_, _, scale) = trajectory_error(found, walk)
    print(f"KISS-ICP read {count} clouds of {len(walk.images)} frames from {TOPIC}")
    print(f"APE after a similarity: rmse {rmse:.4f} m, largest {largest:.4f} m, of {length:.2f} m; scale {scale:.3f}")
    still = np.sqrt(((walk.poses[:, :3, 3] - walk.poses[:, :3, 3].mean(0)) ** 2).sum(1).mean())
    print(f"for comparison, a camera that never moved would be off by {still:.4f} m")
    return 0 if count == len(walk.images) else 1


def _kiss_icp(bag: Path, voxel: float) -> tuple[PoseTrajectory3D, int]:
    """Its trajectory, and how many clouds it read."""
    config = KISSConfig()
    config.data.deskew = False
    config.data.min_range, config.data.max_range = 0.0, 100.0
    config.mapping.voxel_size = voxel
    odometry, dataset, poses = KissICP(config), RosbagDataset(bag, TOPIC), []
    for number in range(len(dataset)):
        points, timestamps = dataset[number]
        odometry.register_frame(np.asarray(points, np.float64), timestamps)
        poses.append(odometry.last_pose.copy())
    stamps = (START_NS + np.arange(len(poses)) * PERIOD_NS) / 1e9
    return PoseTrajectory3D(poses_se3=poses, timestamps=stamps), len(poses)


if __name__ == "__main__":
    sys.exit(main())
