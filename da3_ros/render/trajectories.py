# SPDX-License-Identifier: Apache-2.0
"""Where a camera goes through Gaussians: along given poses, or around what it sees, as in fly-throughs of papers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.poses import from_rotation_translation, interpolate

Floats = NDArray[np.float64]

LEAST_SEEN = 0.2
"""Share of the Gaussians that the first camera must see for the origin to be taken for its place."""
SWING = np.radians(12.0)
"""Largest angle by which ``orbit`` goes to either side."""
RADIUS = 0.06
"""Of ``wobble`` and ``spiral``, as a share of the distance to what is looked at."""


def _orbit(t: Floats) -> Floats:
    angle = SWING * np.sin(2 * np.pi * t)
    return np.stack([np.sin(angle), np.zeros_like(t), 1 - np.cos(angle)], axis=1)


def _wobble(t: Floats) -> Floats:
    angle = 2 * np.pi * t
    return RADIUS * np.stack([np.sin(angle), 0.5 * np.sin(2 * angle), np.zeros_like(t)], axis=1)


def _spiral(t: Floats) -> Floats:
    grown, angle = np.sin(np.pi * t), 4 * np.pi * t
    return RADIUS * np.stack([1.5 * grown * np.sin(angle), grown * np.cos(angle), 3 * grown**2], axis=1)


TRAJECTORIES: dict[str, Callable[[Floats], Floats]] = {"orbit": _orbit, "wobble": _wobble, "spiral": _spiral}
"""By name: where the camera is at times t (N,), 0 to 1, from its first place, in its frame (x right, y down, z forward)
and in units of the distance to what it looks at (N, 3). All begin and end at the first place, so that they can be
repeated, and keep looking at the same point: an arc of 12 degrees to either side; a figure of eight of 6 % across; two
turns that grow, go forward by a fifth of the way, and come back."""


def base_pose(gaussians: Gaussians, tan_half: tuple[float, float]) -> tuple[Floats, float, bool]:
    """T_world_camera (4, 4) from where a scene is looked at, the distance to what is looked at, and whether that place
    is the first camera's.

    tan_half: tangents of half the horizontal and half the vertical field of view. Scenes of DA3 have their first camera
    at the origin, looking along +z: where enough of the Gaussians are in its view, it is taken. Others are looked at
    along +z from so far in front of their middle that four fifths of them are seen, and two deviations of the
    usual one. Raises ValueError without Gaussians.
    """
    means = np.asarray(gaussians.means, np.float64)
    if not len(means):
        raise ValueError("there are no Gaussians to look at")
    x, y, z = means.T
    seen = (z > 0) & (np.abs(x) < tan_half[0] * z) & (np.abs(y) < tan_half[1] * z)
    pose = np.eye(4)
    if seen.mean() >= LEAST_SEEN:
        return pose, float(np.median(z[seen])), True
    low, middle, high = np.quantile(means, [0.1, 0.5, 0.9], axis=0)
    # A scene of one Gaussian is as large as that.
    half = np.maximum((high - low) / 2, 2 * np.median(np.asarray(gaussians.scales, np.float64).max(axis=1)))
    distance = float(max(half[0] / tan_half[0], half[1] / tan_half[1], 1e-6) + half[2])
    pose[:3, 3] = middle - [0, 0, distance]
    return pose, distance, False


def fly(name: str, base: Floats, distance: float, frames: int) -> Floats:
    """Poses T_world_camera (frames, 4, 4) of a trajectory of `TRAJECTORIES` from the pose `base` (4, 4), which looks at
    the point at `distance` in front of it. Raises ValueError for another name.
    """
    if name not in TRAJECTORIES:
        raise ValueError(f"trajectory {name!r}: allowed are {', '.join(TRAJECTORIES)}, or a file of poses")
    times = np.arange(frames) / max(frames, 1)
    places = distance * TRAJECTORIES[name](times)
    forward = np.array([0, 0, distance]) - places
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    turns = np.stack([right, np.cross(forward, right), forward], axis=2)
    return np.asarray(base @ from_rotation_translation(turns, places))


def resample(times: Floats, poses: Floats, frames: int) -> Floats:
    """Poses (frames, 4, 4) at even times between the first and the last of poses T_world_camera (N, 4, 4) at rising
    `times` (N,), seconds: places on lines, rotations by slerp. Raises ValueError for times that do not rise.
    """
    if len(poses) == 1:
        return np.repeat(poses, frames, axis=0)
    if not (np.diff(times) > 0).all():
        raise ValueError("the times of the poses do not rise, so that nothing lies between them")
    wanted = np.linspace(times[0], times[-1], frames)
    after = np.clip(np.searchsorted(times, wanted, side="right"), 1, len(times) - 1)
    ratios = (wanted - times[after - 1]) / (times[after] - times[after - 1])
    return np.stack([interpolate(poses[k - 1], poses[k], ratio) for k, ratio in zip(after, ratios, strict=True)])
