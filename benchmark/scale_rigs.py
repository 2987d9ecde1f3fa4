# SPDX-License-Identifier: Apache-2.0
"""How good the metres are: rendered rigs in held-out rooms, with a simulated LiDAR, and with calibrated baselines.

    python benchmark/scale_rigs.py --rooms 12

Each room gives a stereo pair (0.1 to 0.3 m apart) and a ring of four cameras with overlapping views. The LiDAR stands
0.2 m above the first camera: 32 rings of 0.5 degree steps, 2 cm of noise, one return in a hundred wrong, one in
twenty missing. For each rig and source of scale: AbsRel of the metric depth, beside AbsRel of the same depth with the
one scale that is best for the truth, which no source can know. Every set is estimated alone, without a past.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "training"))

from da3_ros.estimation import Estimate, Estimator, EstimatorConfig, View, ViewSet
from da3_ros.estimation.scale import ScaleConfig
from da3_ros.geometry import CameraModel

if TYPE_CHECKING:
    from da3_training.scenes.generate import Studio

WIDTH, HEIGHT = 640, 480
FIELD = np.radians(80)
Rig = tuple[list[View], list[NDArray[np.float32]]]
"""Views with pose, camera and LiDAR points, and their true depths."""


def lidar(studio: Studio, T_world_lidar: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns (N, 3) in the world. T_world_lidar: z up, x ahead."""
    from da3_training.scenes.cameras import intrinsics

    side = 512
    k = intrinsics(side, side, np.radians(92))
    points = []
    for quarter in range(4):
        turn = quarter * np.pi / 2
        T = np.eye(4)
        ahead = T_world_lidar[:3, :3] @ [np.cos(turn), np.sin(turn), 0]
        down = -T_world_lidar[:3, 2]
        T[:3, :3] = np.stack([np.cross(down, ahead), down, ahead], axis=1)
        T[:3, 3] = T_world_lidar[:3, 3]
        _, depth = studio.renderer.render(k, T, side, side)
        azimuth, elevation = np.meshgrid(np.radians(np.arange(-45, 45, 0.5)), np.radians(np.linspace(-25, 15, 32)))
        ray = np.stack([np.tan(azimuth), -np.tan(elevation) / np.cos(azimuth), np.ones_like(azimuth)], axis=-1)
        pixel = np.rint((ray @ k.T)[..., :2]).astype(int)
        inside = ((pixel >= 0) & (pixel < side)).all(axis=-1)
        ray, pixel = ray[inside], pixel[inside]
        z = depth[pixel[:, 1], pixel[:, 0]]
        ray, z = ray[z > 0], z[z > 0]
        length = np.linalg.norm(ray, axis=1)
        distance = z * length + rng.normal(0, 0.02, len(z))
        wrong = rng.random(len(z)) < 0.01
        distance[wrong] = rng.uniform(0.5, 20, wrong.sum())
        kept = rng.random(len(z)) > 0.05
        points.append((ray / length[:, None] * distance[:, None])[kept] @ T[:3, :3].T + T[:3, 3])
    return np.concatenate(points)


def rigs(studio: Studio, seed: int) -> Iterator[tuple[str, Rig]]:
    """A stereo pair and a ring of four in one room."""
    from da3_training.scenes.cameras import _anchor, intrinsics, is_free, pose_of
    from da3_training.scenes.room import make_scene
    from da3_training.scenes.sensor import Sensor

    k = intrinsics(WIDTH, HEIGHT, FIELD)
    camera = CameraModel.from_matrix(k, WIDTH, HEIGHT)
    for attempt in range(50):
        rng = np.random.default_rng([seed, attempt, 99])
        scene = make_scene(studio.library, studio.bank, rng, "room")
        anchor = _anchor(scene, rng)
        if anchor is None:
            continue
        position, yaw, pitch = anchor[0], anchor[1], float(np.clip(anchor[2], -0.3, 0.1))
        baseline = rng.uniform(0.1, 0.3)
        left = pose_of(position, yaw, pitch, 0.0)
        right = left.copy()
        right[:3, 3] += left[:3, 0] * baseline
        ring = []
        for i in range(4):
            heading = yaw + (i - 1.5) * 0.6 * FIELD
            ring.append(pose_of(position + 0.2 * np.array([np.cos(heading), np.sin(heading), 0]), heading, pitch, 0.0))
        if not all(is_free(scene, T[:3, 3], 0.1) for T in (left, right, *ring)):
            continue
        studio.renderer.load(scene.mesh, studio.pixels(scene.own_textures), scene.lighting, (scene.lo, scene.hi))
        if not studio._acceptable(left, FIELD, WIDTH / HEIGHT, rng):
            continue
        sensor = Sensor.draw(rng)
        for name, poses in (("stereo", [left, right]), ("ring of four", ring)):
            T_world_lidar = pose_of(position + np.array([0, 0, 0.2]), yaw, 0.0, 0.0)
            axes = T_world_lidar[:3, :3]
            T_world_lidar[:3, :3] = np.stack([axes[:, 2], -axes[:, 0], -axes[:, 1]], axis=1)  # z up, x ahead
            cloud = lidar(studio, T_world_lidar, rng)
            views, depths = [], []
            for i, T in enumerate(poses):
                linear, depth = studio.renderer.render(k, T, WIDTH, HEIGHT)
                image = sensor.expose(linear, depth, rng)
                measured = ((cloud - T[:3, 3]) @ T[:3, :3]).astype(np.float32)
                views.append(View(image, camera, T, f"camera{i}", 0, measured=measured))
                depths.append(depth)
            yield name, (views, depths)
        return
    raise RuntimeError(f"seed {seed}: no room with space for a rig in 50 tries; choose another seed")


def errors(estimate: Estimate, depths: list[NDArray[np.float32]]) -> tuple[float, float]:
    """AbsRel as it is, and with the scale that is best for the truth."""
    found, truth = [], []
    for view, depth in zip(estimate.views, depths, strict=True):
        height, width = view.depth.shape
        small = cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)
        good = (small > 0.1) & (small < 20) & np.isfinite(view.depth) & (view.depth > 0)
        found.append(view.depth[good])
        truth.append(small[good])
    d, t = np.concatenate(found).astype(np.float64), np.concatenate(truth).astype(np.float64)
    ratio, weight = t / d, d / t
    order = np.argsort(ratio)
    best = ratio[order][np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)]
    return float(np.mean(np.abs(d - t) / t)), float(np.mean(np.abs(best * d - t) / t))


def main() -> int:
    """Print a table; exit code 1 if a median is more than 0.02 above what the best scale gives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, default=12)
    parser.add_argument("--seed", type=int, default=500)
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "da3_training" / "scenes")
    parser.add_argument("--wheels", type=Path, default=None, help="folder with wheels of the texture packages")
    parser.add_argument("--assets", choices=("auto", "none"), default="auto", help="none: procedural scenes only")
    arguments = parser.parse_args()
    from da3_training.scenes.generate import Studio
    from da3_training.scenes.sources import open_assets

    assets = open_assets("heldout", arguments.cache, arguments.wheels, arguments.assets != "none")
    studio = Studio(*assets, "heldout")
    estimators = {}
    for source in ("reference", "rig"):
        config = EstimatorConfig(max_range=100.0, scale=ScaleConfig(source=source, smoothing=0.0, confirm=1))
        estimators[source] = Estimator.from_model(arguments.model, config)
    rows: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    without: dict[tuple[str, str], int] = defaultdict(int)
    for index in range(arguments.rooms):
        for name, (views, depths) in rigs(studio, arguments.seed + index):
            for source, estimator in estimators.items():
                given = views if source == "reference" else [replace(view, measured=None) for view in views]
                estimator.reset()
                estimate = estimator(ViewSet(given))
                if estimate.scale.metric:
                    rows[name, source].append(errors(estimate, depths))
                else:
                    without[name, source] += 1
                    print(f"  room {index}, {name}, {source}: {estimate.scale.message}")
    print(f"{arguments.model}, {arguments.rooms} rooms; AbsRel, medians over the sets")
    columns = ("sets", "none", "metric", "best", "above", "p90", "<= 0.02")
    print(f"{'rig':<14}{'scale from':<12}" + "".join(f"{column:>9}" for column in columns))
    worst = 0.0
    for (name, source), values in rows.items():
        metric, best = np.array(values).T
        above = metric - best
        worst = max(worst, float(np.median(above)))
        numbers = (np.median(metric), np.median(best), np.median(above), np.percentile(above, 90))
        texts = [f"{len(values)}", f"{without[name, source]}", *(f"{number:.3f}" for number in numbers)]
        print(f"{name:<14}{source:<12}" + "".join(f"{text:>9}" for text in [*texts, f"{np.mean(above <= 0.02):.0%}"]))
    return 0 if rows and worst <= 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
