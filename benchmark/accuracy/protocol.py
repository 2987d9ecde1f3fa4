# SPDX-License-Identifier: Apache-2.0
"""The paper's protocols: which frames, how trajectories are aligned, what is scored (paper section 5, code release)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from da3_ros.geometry.alignment import AlignmentError, umeyama
from da3_ros.geometry.metrics import pair_errors
from da3_ros.geometry.poses import invert

MANIFEST = Path(__file__).with_name("manifest.yaml")


@dataclass(frozen=True)
class Protocol:
    """How one data set is scored. Lengths in metres; 0 means that a score does not apply."""

    name: str
    adapter: str
    """Name of the reader: a data set of `da3_training.datasets`, or `mono` folders."""
    max_frames: int = 100
    every: int = 1
    """Frames are thinned to every n-th before at most `max_frames` are drawn."""
    pose: bool = True
    f1_threshold: float = 0.0
    voxel: float = 4 / 512
    truncation: float = 0.04
    max_depth: float = 10.0
    thinned: float = 0.0
    mono_range: tuple[float, float] = (0.0, 0.0)
    """Nearest and farthest depth that the monocular scores count."""
    scenes: tuple[str, ...] = ()
    """The official scenes, where they are documented; others are left out. Empty: all that are there."""
    excluded: dict[str, list[int]] = field(default_factory=dict)
    """Numbers in the names of frames that are left out, by scene."""
    by_source: bool = False
    """Whether each source in the folder is scored by itself, and the mean over sources besides that over images."""
    note: str = ""


def load_protocols(path: Path = MANIFEST) -> dict[str, Protocol]:
    """Protocols by name. Raises ValueError for a field that is not known."""
    found = {}
    for name, fields in yaml.safe_load(path.read_text())["sets"].items():
        values: dict[str, Any] = dict(fields)
        for key in ("mono_range", "scenes"):
            if key in values:
                values[key] = tuple(values[key])
        try:
            found[name] = Protocol(name=name, **values)
        except TypeError as error:
            raise ValueError(f"{path}: {name}: {error}") from error
    return found


def choose_frames(count: int, protocol: Protocol) -> list[int]:
    """Indices of the frames that count: every n-th, and of these at most `max_frames`, drawn with seed 42, in order."""
    indices = list(range(0, count, protocol.every))
    if 0 < protocol.max_frames < len(indices):
        order = list(range(len(indices)))
        random.Random(42).shuffle(order)
        indices = [indices[i] for i in sorted(order[: protocol.max_frames])]
    return indices


def published_pair_errors(poses: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation and translation-angle error (P, 2) in degrees of all pairs, as the published evaluation computes them.

    poses, truth: T_world_camera (S, 4, 4). That code compares ``E_i^-1 E_j`` of ``E = T_camera_world T_world_camera0``:
    its angle of rotation is that between the cameras, but its translation is not the line between them (which
    `da3_ros.geometry.metrics.pair_errors` compares). It is kept where figures stand beside the paper's.
    """

    def relative_to_first(T_world_camera: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(invert(T_world_camera) @ T_world_camera[0])

    return pair_errors(relative_to_first(poses), relative_to_first(truth))


@dataclass(frozen=True)
class Similarity:
    """``truth = scale * rotation @ found + translation``."""

    scale: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    def __call__(self, poses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Poses T_found_camera (S, 4, 4) as T_truth_camera."""
        out = np.array(poses, np.float64)
        out[:, :3, :3] = self.rotation @ poses[:, :3, :3]
        out[:, :3, 3] = self.scale * poses[:, :3, 3] @ self.rotation.T + self.translation
        return out


def align_poses(found: NDArray[np.float64], truth: NDArray[np.float64], rounds: int = 10, seed: int = 42) -> Similarity:
    """Similarity between two trajectories T_world_camera (S, 4, 4), by their centres, robust against single poses.

    Umeyama on random halves of the cameras; the round with the most centres within the threshold (the median distance
    after a fit on all of them) wins, and is fitted anew on those. Raises AlignmentError for fewer than three cameras
    and for cameras on one line.
    """
    a, b = found[:, :3, 3], truth[:, :3, 3]
    everyone = Similarity(*umeyama(a, b))

    def distances(fit: Similarity) -> NDArray[np.float64]:
        return np.linalg.norm(fit.scale * a @ fit.rotation.T + fit.translation - b, axis=1)

    threshold = float(np.median(distances(everyone)))
    rng = np.random.default_rng(seed)
    size = max(3, (len(a) + 1) // 2)
    best, most = everyone, int((distances(everyone) <= threshold).sum())
    for _ in range(rounds):
        subset = rng.choice(len(a), size, replace=False)
        try:
            fit = Similarity(*umeyama(a[subset], b[subset]))
        except AlignmentError:
            continue
        near = distances(fit) <= threshold
        if near.sum() > most and near.sum() >= 3:
            try:
                best, most = Similarity(*umeyama(a[near], b[near])), int(near.sum())
            except AlignmentError:
                continue
    return best


def fit_depth_affine(
    depth: NDArray[np.floating], truth: NDArray[np.floating], valid: NDArray[np.bool_]
) -> tuple[float, float]:
    """Scale and shift of least squares that bring `depth` to `truth` over the valid pixels."""
    d, t = depth[valid].astype(np.float64), truth[valid].astype(np.float64)
    spread = d - d.mean()
    if not spread.any():
        return 0.0, float(t.mean())
    scale = float(spread @ t / (spread @ spread))
    return scale, float(t.mean() - scale * d.mean())


def consistency(
    depths: Sequence[NDArray[np.float32]], intrinsics: NDArray[np.floating], poses: NDArray[np.float64]
) -> float:
    """Median relative difference between each depth map (h, w) and those of the other views moved into it.

    poses: T_world_camera (S, 4, 4) in the unit of the depths; intrinsics (S, 3, 3). Points that the other view sees at
    less than 0.7 or more than 1.4 times their depth are taken to be hidden. NaN where no view sees another's points.
    """
    differences = []
    for i in range(len(depths)):
        v, u = np.nonzero(np.isfinite(depths[i]) & (depths[i] > 0))
        v, u = v[::7], u[::7]
        z = depths[i][v, u].astype(np.float64)
        k = intrinsics[i]
        x = np.stack([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z], axis=1)
        world = x @ poses[i][:3, :3].T + poses[i][:3, 3]
        for j in range(len(depths)):
            if i == j:
                continue
            T = invert(poses[j])
            y = world @ T[:3, :3].T + T[:3, 3]
            ahead = y[:, 2] > 1e-6
            pixel = np.rint(y[ahead, :2] / y[ahead, 2:] * intrinsics[j][[0, 1], [0, 1]] + intrinsics[j][:2, 2])
            h, w = depths[j].shape
            inside = (pixel >= 0).all(axis=1) & (pixel[:, 0] < w) & (pixel[:, 1] < h)
            column, row = pixel[inside].astype(int).T
            seen = depths[j][row, column]
            ratio = y[ahead, 2][inside] / np.where(seen > 0, seen, np.nan)
            differences.append(np.abs(ratio[(ratio > 0.7) & (ratio < 1.4)] - 1))
    merged = np.concatenate(differences) if differences else np.zeros(0)
    return float(np.median(merged)) if len(merged) else float("nan")
