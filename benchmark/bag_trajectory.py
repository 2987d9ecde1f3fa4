# SPDX-License-Identifier: Apache-2.0
"""Chunks of a rendered walk, aligned and naively chained: absolute trajectory error (evo, after a similarity) of each,
and the distance of the fused cloud to the true surface. ``python benchmark/bag_trajectory.py``; ``--frames 60`` is
quick.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evo.core.trajectory import PoseTrajectory3D
from evo.tools import file_interface
from scipy.spatial import cKDTree
from walk import Walk, add_arguments, walk_of
from walk_bag import Alignment, trajectory_error, write_walk_bag

from da3_ros.bag.io.reader import Recording
from da3_ros.bag.line.look_up import LookUp
from da3_ros.bag.motion.chunks import read_chunk
from da3_ros.bag.motion.trajectory import Trajectory, naive_sequence, sequence, solve
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.plan.outcome import companion
from da3_ros.bag.plan.plan import make_plan
from da3_ros.bag.run.first_pass import chunk_files, make_chunks
from da3_ros.bag.run.long_windows import align_chunks
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.estimation import Estimator
from da3_ros.geometry import unproject_depth
from da3_ros.geometry.poses import transform


def main() -> int:
    """Print the errors; exit code 1 where alignment does not halve that of naive chaining."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--overlap", type=int, default=4)
    parser.add_argument("--size", type=int, default=0, help="longest side of the network's input; 0: recommended")
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--keep", type=Path, default=None, help="folder for the bags and what lies beside them")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    walk = walk_of(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        source, output = folder / "walk", folder / "out"
        if not source.exists():
            write_walk_bag(walk, source)
        options = Options(chunk=arguments.chunk, overlap=arguments.overlap, loops=True, scene=("ply",))
        assignments = (f"inference.size:={arguments.size}",)
        request = Request(source, output, assignments=assignments, model=arguments.model, options=options)
        begin = time.monotonic()
        looked_up = _first_pass(request)
        print(f"{len(looked_up.trajectory.chunks)} chunks in {time.monotonic() - begin:.0f} s", flush=True)
        chunks = [read_chunk(path) for path in chunk_files(companion(output) / "chunks")]
        summary = reprocess(request)
        found = file_interface.read_tum_trajectory_file(f"{output}.da3/trajectory.tum")
        edges = sequence(chunks)
        errors = {
            "naive chaining": trajectory_error(_poses(solve(chunks, naive_sequence(chunks))), walk),
            "neighbours aligned": trajectory_error(_poses(solve(chunks, edges)), walk),
            "aligned, adjusted, loops closed (da3 bag --chunk --loops)": trajectory_error(found, walk),
        }
        length = np.linalg.norm(np.diff(walk.poses[:, :3, 3], axis=0), axis=1).sum()
        print(f"walk of {len(walk.poses)} frames, {length:.2f} m; loops: {len(summary['trajectory']['loops'])}")
        for name, (rmse, largest, _) in errors.items():
            print(f"ATE {name}: rmse {rmse:.4f} m, largest {largest:.4f} m")
        naive, final = (values[0] for values in (errors["naive chaining"], list(errors.values())[-1]))
        print(f"ratio {final / naive:.3f}")
        _chamfer(Path(f"{output}.da3", "cloud.ply"), walk, list(errors.values())[-1][2])
        return 0 if final <= 0.5 * naive else 1


def _first_pass(request: Request) -> LookUp:
    """Chunks where `da3 bag` itself will find them."""
    with Recording(request.source) as recording:
        plan = make_plan(recording, request)
        estimator = Estimator.from_model(plan.parameters.model, plan.parameters.estimator)
        make_chunks(recording, plan, request, estimator, 0, _tell, lambda level, text: None)
        folder = companion(request.output) / "chunks"
        return align_chunks(folder, estimator.describe(), plan.parameters.estimator, loops=request.options.loops)


def _tell(done: int, most: int) -> None:
    if done % 20 == 0:
        print(f"{done} of {most} sets", flush=True)


def _poses(trajectory: Trajectory) -> PoseTrajectory3D:
    numbers = sorted(trajectory.bodies)
    stamps = np.array([trajectory.stamps[number] for number in numbers]) / 1e9
    return PoseTrajectory3D(poses_se3=[trajectory.bodies[number] for number in numbers], timestamps=stamps)


def _chamfer(ply: Path, walk: Walk, alignment: Alignment) -> None:
    """Distances between the cloud and what the cameras really saw, both ways, in metres."""
    import trimesh

    R, t, s = alignment
    # The cloud's world is the first camera's frame, as the trajectory's.
    loaded = trimesh.load(ply)
    assert isinstance(loaded, (trimesh.PointCloud, trimesh.Trimesh))
    cloud = s * np.asarray(loaded.vertices) @ R.T + t
    truth = []
    for depth, pose in zip(walk.depths[::3], walk.poses[::3], strict=True):
        points = unproject_depth(np.asarray(depth[::2, ::2], np.float64), _half(walk))
        good = depth[::2, ::2] > 0
        truth.append(transform(pose, points[good]))
    surface = np.concatenate(truth)
    surface = surface[_one_each(surface, 0.02)]
    cloud = cloud[_one_each(cloud, 0.02)]
    there = cKDTree(surface).query(cloud, workers=1)[0]
    back = cKDTree(cloud).query(surface, workers=1)[0]
    print(f"cloud of {len(cloud)} points (2 cm grid) to the true surface: median {np.median(there):.3f} m, ", end="")
    print(f"mean {there.mean():.3f} m, within 5 cm {100 * (there < 0.05).mean():.0f} %")
    print(f"true surface to the cloud: median {np.median(back):.3f} m, mean {back.mean():.3f} m")
    print(f"Chamfer distance (mean of both means): {(there.mean() + back.mean()) / 2:.3f} m")


def _half(walk: Walk) -> NDArray[np.float64]:
    k = walk.camera.K.copy()
    k[:2] /= 2
    return k


def _one_each(points: NDArray[Any], size: float) -> NDArray[np.intp]:
    return np.unique(np.floor(points / size).astype(np.int64), axis=0, return_index=True)[1]


if __name__ == "__main__":
    sys.exit(main())
