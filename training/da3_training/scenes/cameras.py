# SPDX-License-Identifier: Apache-2.0
"""Clusters of overlapping camera poses in a scene: hand-held walks, small rigs, wide baselines, outward-looking rigs.

A pose is the 4x4 camera-to-world transform of an OpenCV camera (x right, y down, z forward), metres, world z up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from da3_training.scenes.arrays import Floats
from da3_training.scenes.lighting import look_rotation
from da3_training.scenes.room import Scene

Anchor = tuple[Floats, float, float, Floats]
"""Where a camera may stand, yaw and pitch of its view, and what it looks at."""
CLUSTERS = {"walk": 0.4, "stereo": 0.2, "wide": 0.25, "rig": 0.15}
"""Kinds of clusters, and their shares."""


def intrinsics(width: int, height: int, hfov: float) -> NDArray[np.float64]:
    """Pinhole matrix (3, 3): square pixels, centred principal point, pixel centres at integers; `hfov` in radians."""
    f = width / 2 / np.tan(hfov / 2)
    return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])


def pose_of(position: Floats, yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Camera-to-world pose: yaw about world z (0: along +x), pitch up positive, roll about the view axis; radians."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    T = np.eye(4)
    T[:3, :3] = look_rotation(forward, roll)
    T[:3, 3] = position
    return T


def angles_to(position: Floats, target: Floats) -> tuple[float, float]:
    """Yaw and pitch [rad] that look from `position` at `target`."""
    d = target - position
    return float(np.arctan2(d[1], d[0])), float(np.arctan2(d[2], np.hypot(d[0], d[1])))


def is_free(scene: Scene, position: Floats, margin: float = 0.12) -> bool:
    """True when a camera may stand here: inside the room and outside of every solid."""
    if (position < scene.lo + margin).any() or (position > scene.hi - margin).any():
        return False
    if not len(scene.solids):
        return True
    return not ((scene.solids[:, 0] - margin < position) & (scene.solids[:, 1] + margin > position)).all(1).any()


def _anchor(scene: Scene, rng: np.random.Generator) -> Anchor | None:
    """A free position with a view direction at something: position, yaw, pitch, target."""
    for _ in range(60):
        if scene.table is not None and rng.random() < 0.75:
            target = scene.table + np.array([*rng.normal(0, 0.15, 2), rng.uniform(0, 0.1)])
            distance, azimuth, height = (
                rng.uniform(0.45, 1.5),
                rng.uniform(0, 2 * np.pi),
                rng.uniform(0.15, 1.2),
            )
            position = target + distance * np.array(
                [np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)]
            )
        else:
            position = np.array(
                [
                    *rng.uniform(scene.lo[:2] + 0.15, scene.hi[:2] - 0.15),
                    rng.uniform(0.2, 0.7) if rng.random() < 0.35 else rng.uniform(0.7, 2.1),
                ]
            )
            target = scene.focus[rng.integers(len(scene.focus))] + rng.normal(0, 0.25, 3)
            if not 0.6 < np.linalg.norm(target - position) < 12:
                continue
        if not is_free(scene, position, 0.2):
            continue
        yaw, pitch = angles_to(position, target)
        if scene.table is None:
            pitch = 0.75 * pitch + rng.normal(0, 0.08)
        if np.radians(-62) < pitch < np.radians(20):
            return position, yaw, pitch, target
    return None


def _walk(scene: Scene, rng: np.random.Generator, anchor: Anchor, n: int) -> Iterator[NDArray[np.float64]]:
    position, yaw, pitch, _ = anchor
    close = scene.table is not None
    heading = yaw + rng.normal(0, 0.9)
    turn = rng.normal(0, np.radians(7))
    for _ in range(n):
        yield pose_of(position, yaw, pitch, rng.normal(0, 0.04))
        for _ in range(8):
            step = rng.uniform(0.03, 0.15) if close else rng.uniform(0.05, 0.4)
            trial = position + step * np.array([np.cos(heading), np.sin(heading), 0]) + rng.normal(0, 0.02, 3)
            if is_free(scene, trial):
                position = trial
                break
            heading += rng.normal(0, 1.2)
        heading += rng.normal(0, 0.25)
        yaw += turn + rng.normal(0, np.radians(3))
        pitch = np.clip(pitch + rng.normal(0, np.radians(2.5)), -1.08, 0.35)


def _stereo(scene: Scene, rng: np.random.Generator, anchor: Anchor, n: int) -> Iterator[NDArray[np.float64]]:
    position, yaw, pitch, _ = anchor
    base = pose_of(position, yaw, pitch, rng.normal(0, 0.03))
    baseline = rng.uniform(0.05, 0.4) * (0.5 if scene.table is not None else 1)
    columns = int(rng.choice([2, 3, 6]))
    for i in range(n):
        T = base.copy()
        T[:3, 3] += base[:3, :3] @ [
            baseline * (i % columns),
            0.6 * baseline * (i // columns),
            rng.normal(0, 0.01),
        ]
        toe = pose_of(np.zeros(3), yaw + rng.normal(0, 0.04), pitch + rng.normal(0, 0.03), rng.normal(0, 0.02))
        T[:3, :3] = toe[:3, :3]
        yield T


def _wide(scene: Scene, rng: np.random.Generator, anchor: Anchor, n: int) -> Iterator[NDArray[np.float64]]:
    position, yaw, pitch, target = anchor
    spread = min(rng.uniform(0.3, 1.5), 0.6 * float(np.linalg.norm(target - position)))
    yield pose_of(position, *angles_to(position, target), rng.normal(0, 0.05))
    for _ in range(n - 1):
        for _ in range(10):
            trial = position + rng.normal(0, 1, 3) * spread * [0.7, 0.7, 0.3]
            if is_free(scene, trial) and np.linalg.norm(target - trial) > 0.4:
                break
        yaw, pitch = angles_to(trial, target + rng.normal(0, 0.08, 3))
        yield pose_of(
            trial,
            yaw + rng.normal(0, 0.06),
            float(np.clip(pitch + rng.normal(0, 0.05), -1.1, 0.4)),
            rng.normal(0, 0.06),
        )


def _rig(scene: Scene, rng: np.random.Generator, anchor: Anchor, n: int, hfov: float) -> Iterator[NDArray[np.float64]]:
    position, yaw, pitch, _ = anchor
    pitch = float(np.clip(pitch, -0.35, 0.1))
    radius, gap = rng.uniform(0.05, 0.25), hfov * rng.uniform(0.4, 0.65)
    cameras = 4
    for i in range(n):
        if i == cameras:  # the rig has moved on: the forward cameras once more
            position = position + rng.uniform(0.1, 0.3) * np.array([np.cos(yaw), np.sin(yaw), 0])
            yaw += rng.normal(0, 0.1)
        direction = yaw + ((i % cameras) - (cameras - 1) / 2 if i < cameras else (i - cameras) - 0.5) * gap
        offset = radius * np.array([np.cos(direction), np.sin(direction), 0])
        yield pose_of(position + offset, direction, pitch, rng.normal(0, 0.01))


def candidates(
    scene: Scene,
    rng: np.random.Generator,
    n: int,
    hfov: float,
    accept: Callable[[NDArray[np.float64]], bool],
    only: str | None = None,
) -> Iterator[tuple[str, list[NDArray[np.float64]]]]:
    """Clusters of `n` free poses whose first place and direction pass `accept`: their kinds and poses, at most 25.

    hfov: horizontal field of view in radians. only: one of CLUSTERS, rather than all of them by their shares.
    """
    for _ in range(25):
        kind = only or str(rng.choice(list(CLUSTERS), p=list(CLUSTERS.values())))
        anchor = _anchor(scene, rng)
        if anchor is None:
            return
        if not accept(pose_of(anchor[0], anchor[1], anchor[2], 0.0)):
            continue
        poses = list(
            _rig(scene, rng, anchor, n, hfov)
            if kind == "rig"
            else {"walk": _walk, "stereo": _stereo, "wide": _wide}[kind](scene, rng, anchor, n)
        )
        if all(is_free(scene, T[:3, 3], 0.06) for T in poses):
            yield kind, poses


def tells(depth: Floats, rng: np.random.Generator) -> bool:
    """Whether a view of this depth (H, W), 0 sky, is worth learning from: not too close, not mostly sky, not one flat
    wall, but for some.
    """
    valid = depth[depth > 0]
    if len(valid) < 0.45 * depth.size or (valid < 0.25).mean() > 0.25 or np.median(valid) < 0.3:
        return False
    lo, hi = np.percentile(valid, [10, 90])
    return bool(hi / lo > 1.35 or rng.random() < 0.15)
