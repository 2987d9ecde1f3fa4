# SPDX-License-Identifier: Apache-2.0
"""Where the views of a set stand: what TF knows of their frames, and what rectification turned.

A rectified image is one of a camera that was turned about its centre by `R` of its CameraInfo, so that the rows of both
cameras of a pair run alike. Its messages carry the frame of the camera itself all the same, and TF may hold either: the
camera's own frame, as calibrated, or the one that the image was turned to. The pair shows which one it is: rectified,
both cameras look the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.poses import from_rotation_translation, rotation_angle
from da3_ros.stream.diagnostics import OK, WARN, Health
from da3_ros.stream.mounts import PAIR_DEG, check_mounts, with_optical_frame
from da3_ros.stream.parameters import NodeParameters
from da3_ros.stream.transforms import TransformTree, lookup_or_report
from da3_ros.stream.work import Matrix, Source

NOTABLE_DEG = 0.5
"""A turn that matters: depth of a pair changes by tens of percent at this angle."""


def place(
    sources: Sequence[Source], parameters: NodeParameters, transforms: TransformTree, health: Health
) -> tuple[list[Source], str]:
    """The views with what TF knows of them, and the frame of their poses: that of the odometry, the rig, or "" where no
    camera has a transform.
    """
    sources = [with_optical_frame(source, transforms, health) for source in sources]
    p, shared = parameters, _shared_frames(sources)
    mounts: list[Matrix | None] = []
    for source in sources:
        view = source.view
        for text in transforms.disputed(p.odometry_frame or p.rig_frame, source.frame_id):
            health.report("", "transforms of two", text, WARN)
        if source.frame_id in shared:
            text = f"shares the frame {source.frame_id} with another camera; "
            if source.beside:
                text += f"P of its CameraInfo has it {source.beside:.3f} m beside: publish a frame there and "
            text += f"set {view.name}.frame_id"
            health.report(view.name, "transform", text, WARN)
            mounts.append(None)
        else:
            frames = p.rig_frame, source.frame_id
            mounts.append(lookup_or_report(transforms, health, *frames, view.stamp_ns, view.name))
    sources = _with_turns(sources, mounts, health)
    mounts = [_turned(mount, source.turn) for mount, source in zip(mounts, sources, strict=True)]
    check_mounts(sources, mounts, p.rig_frame, health)
    poses, pose_source, world = mounts, "calibrated", p.rig_frame if any(m is not None for m in mounts) else ""
    if p.odometry_frame and world:
        moved: list[Matrix | None] = []
        for source, mount in zip(sources, mounts, strict=True):
            found = None
            if mount is not None:
                frames = p.odometry_frame, source.frame_id
                found = lookup_or_report(transforms, health, *frames, source.view.stamp_ns)
            moved.append(_turned(found, source.turn))
        # One world for all: where the odometry lacks one camera's stamp, the rig serves this set.
        if all((pose is None) == (mount is None) for pose, mount in zip(moved, mounts, strict=True)):
            poses, pose_source, world = moved, "odometry", p.odometry_frame
    placed = [
        replace(source, view=replace(source.view, pose=pose, pose_source=pose_source, mount=mount))
        for source, pose, mount in zip(sources, poses, mounts, strict=True)
    ]
    return placed, world


def _with_turns(sources: Sequence[Source], mounts: Sequence[Matrix | None], health: Health) -> list[Source]:
    """The sources, those without a turn whose frame in TF is that of the rectified image already."""
    found = []
    for i, source in enumerate(sources):
        turn, mount, name = source.turn, mounts[i], source.view.name
        if turn is not None and mount is not None:
            degrees = float(np.degrees(rotation_angle(turn)))
            others = [j for j, other in enumerate(mounts) if j != i and other is not None and sources[j].rectified]
            own = min((_between(mount, turn, mounts[j], sources[j].turn) for j in others), default=np.inf)
            there = min((_between(mount, None, mounts[j], None) for j in others), default=np.inf)
            alone = min(own, there) > PAIR_DEG
            already = not alone and there < own
            text = f"R of its CameraInfo turns the rectified image by {degrees:.2f} deg; /tf is taken to hold "
            text += f"{source.frame_id} {'as turned already' if already else 'as the camera itself stands'}"
            if alone:
                text += ": no other rectified camera here tells which"
            health.report(name, "rectification", text, WARN if alone and degrees > NOTABLE_DEG else OK)
            found.append(replace(source, turn=None) if already else source)
        else:
            found.append(source)
    return found


def _between(a: Matrix, turn_a: Matrix | None, b: Matrix | None, turn_b: Matrix | None) -> float:
    """Degrees between the directions of two views."""
    assert b is not None
    first, second = _turned(a, turn_a), _turned(b, turn_b)
    assert first is not None
    assert second is not None
    return float(np.degrees(rotation_angle(first[:3, :3].T @ second[:3, :3])))


def _turned(T_frame_camera: Matrix | None, R_view_camera: NDArray[np.float64] | None) -> Matrix | None:
    """`T_frame_view` of the view that a camera was turned to."""
    if T_frame_camera is None or R_view_camera is None:
        return T_frame_camera
    return np.asarray(from_rotation_translation(T_frame_camera[:3, :3] @ R_view_camera.T, T_frame_camera[:3, 3]))


def _shared_frames(sources: Sequence[Source]) -> set[str]:
    frames = [source.frame_id for source in sources]
    return {frame for frame in frames if frames.count(frame) > 1}
