# SPDX-License-Identifier: Apache-2.0
"""The sequences: a rendered stereo pair that walks, the shipped recording, and the kitchen."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from case import Truth
from numpy.typing import NDArray
from rig_walk import LAP, load_rig_walk
from sequence import Frame, Sequence3D

from da3_ros.estimation import View

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tools" / "demo"))
sys.path.append(str(ROOT / "training"))

RIG, SHIPPED, KITCHEN = "rig", "shipped", "kitchen"
PERIOD = 0.1
"""Seconds between the rendered frames."""
QUICK_FRAMES = 12


@dataclass(frozen=True)
class Sources:
    """Where sequences come from that are not in the checkout."""

    walks: Path
    """Folder that keeps rendered walks."""
    kitchen: Path | None
    """Folder in the layout of 7-Scenes."""
    frames: int
    """Of each at most; 0: all."""
    seed: int
    cache: Path
    wheels: Path | None
    assets: bool


def rendered_rig(sources: Sources) -> Sequence3D:
    """The stereo pair of `rig_walk.py`: metres and evidence come from its baseline."""
    count = min(sources.frames or LAP, LAP)
    walk = load_rig_walk(sources.walks, count, sources.seed, sources.cache, sources.wheels, sources.assets)
    mounts = [np.linalg.inv(walk.poses[0, 0]) @ walk.poses[0, side] for side in range(2)]
    frames = []
    for number in range(count):
        views = tuple(
            View(walk.images[number, side], walk.camera, mounts[side], name, _ns(number * PERIOD), mount=mounts[side])
            for side, name in enumerate(("left", "right"))
        )
        truth = tuple(Truth(_known(depth), walk.camera) for depth in walk.depths[number])
        frames.append(Frame(number * PERIOD, views, truth, tuple(walk.poses[number])))
    return Sequence3D(RIG, "rendered rig, two cameras 0.2 m apart", tuple(frames), level=True)


def shipped_recording(sources: Sources) -> Sequence3D:
    """The robot with four cameras of the checkout's recording."""
    from scenarios import four_cameras

    rig, (stamps, T_world_base) = four_cameras(), _odometry()
    count = min(sources.frames or len(rig.frames), len(rig.frames))
    if len(stamps) != len(rig.frames):
        raise ValueError(f"the shipped recording has {len(rig.frames)} sets of images and {len(stamps)} true poses")
    frames = []
    for number in range(count):
        names, stamp = sorted(rig.cameras), stamps[number] - stamps[0]
        views = tuple(
            View(
                np.ascontiguousarray(rig.frames[number][name]),
                rig.cameras[name],
                rig.poses[name],
                name,
                _ns(stamp),
                mount=rig.poses[name],
            )
            for name in names
        )
        truth = tuple(Truth(rig.truth[number][name].depth, rig.truth[number][name].camera) for name in names)
        poses = tuple(T_world_base[number] @ rig.poses[name] for name in names)
        frames.append(Frame(float(stamp), views, truth, poses))
    return Sequence3D(SHIPPED, "shipped recording, four cameras", tuple(frames), level=True)


def kitchen(sources: Sources) -> Sequence3D:
    """A hand-held walk with one camera, whose past frames are seen beside the present one at their true poses, as the
    node does with `odometry_frame` and `sync.window: 4`.
    """
    from kitchen import window_cases

    if sources.kitchen is None:
        raise FileNotFoundError("the kitchen is not in the checkout: name a folder in 7-Scenes' layout by --kitchen")
    cases = window_cases(sources.kitchen)
    frames = []
    for case in cases[: sources.frames or len(cases)]:
        first, truth = case.views[0], case.truth[0]
        if first.pose is None or truth is None:
            raise ValueError(f"{case.name} of {sources.kitchen} has no pose or no depth")
        frames.append(Frame(first.stamp_ns / 1e9, case.views, (truth,), (first.pose,)))
    notes = "its metres and its evidence come from the true motion of the last five frames, as from perfect odometry"
    return Sequence3D(KITCHEN, "kitchen, one camera", tuple(frames), level=False, notes=notes)


SEQUENCES: dict[str, Callable[[Sources], Sequence3D]] = {
    RIG: rendered_rig,
    SHIPPED: shipped_recording,
    KITCHEN: kitchen,
}


def _odometry() -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Stamps (N,) in seconds and T_map_base of the shipped recording's true odometry."""
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore
    from scenarios import FOUR_CAMERAS
    from scipy.spatial.transform import Rotation

    stamps, poses = [], []
    with AnyReader([FOUR_CAMERAS], default_typestore=get_typestore(Stores.ROS2_KILTED)) as reader:
        chosen = [c for c in reader.connections if c.topic == "/ground_truth/odom"]
        for connection, _, raw in reader.messages(chosen):
            message: Any = reader.deserialize(raw, connection.msgtype)
            p, q = message.pose.pose.position, message.pose.pose.orientation
            T = np.eye(4)
            T[:3, :3], T[:3, 3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), (p.x, p.y, p.z)
            stamps.append(message.header.stamp.sec + message.header.stamp.nanosec / 1e9)
            poses.append(T)
    return np.array(stamps), poses


def _known(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(depth > 0, depth, np.float32(np.nan))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
