# SPDX-License-Identifier: Apache-2.0
"""Whether the frames of cameras can be what images need them to be, and stand where calibrations have them.

The frame of an image looks along z, with x to the right and y down (REP-104). Drivers that stamp images with the
camera's own frame, x forward, make everything lie on its side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from da3_ros.geometry.poses import relative, rotation_angle
from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.transforms import TransformTree
from da3_ros.stream.work import Matrix, Source

PAIR_DEG = 2.0
"""Cameras that look the same way within this angle may be a rectified pair."""
_BODY_FRAMES = ("base_link", "base_footprint", "base_frame", "odom", "map", "world", "earth")
"""Frames whose z axis points up (REP-105)."""
_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""R_body_optical (REP-103)."""
_SAME_DEG = 10.0
_UPWARDS = np.cos(np.radians(30.0))
_SHARE, _METRES = 0.03, 0.002
"""Baselines that differ by less are the same, of drawings and of calibrations."""


def with_optical_frame(source: Source, transforms: TransformTree, health: Health) -> Source:
    """The source in the optical frame that TF has right below its own, where that one is the camera's body."""
    found = optical_children(source.frame_id, transforms)
    child = chosen(found, source.view.name)
    if not found:
        return source
    if child is None:  # all of them look the same way, a few centimetres apart
        text = (
            f"its images are stamped with {source.frame_id}, x forward, below which TF has the optical frames "
            f"{', '.join(found)}: set {source.view.name}.frame_id to the one of this camera; until then {found[0]} is "
            "used"
        )
        health.report(source.view.name, "optical frame", text, WARN)
        return replace(source, frame_id=found[0])
    text = (
        f"its images are stamped with {source.frame_id}, x forward, whose optical frame in TF is {child}: that "
        f"one is used; set {source.view.name}.frame_id to it, or let the driver stamp images with it"
    )
    health.report(source.view.name, "optical frame", text, WARN)
    return replace(source, frame_id=child)


def optical_children(frame: str, transforms: TransformTree) -> list[str]:
    """The optical frames that TF has right below the frame of a camera's body, by name."""
    if _is_optical(frame):
        return []
    return sorted(
        child
        for child, matrix in transforms.children(frame).items()
        if _is_optical(child) and np.degrees(rotation_angle(_OPTICAL.T @ matrix[:3, :3])) < _SAME_DEG
    )


def chosen(frames: Sequence[str], name: str) -> str | None:
    """Of several frames the only one that is called by a name, of one that one; None where that does not tell."""
    if len(frames) == 1:
        return frames[0]
    named = [frame for frame in frames if name in frame.split("_")]
    return named[0] if len(named) == 1 else None


def check_mounts(sources: Sequence[Source], mounts: Sequence[Matrix | None], rig_frame: str, health: Health) -> None:
    """Report frames that look upwards, and pairs that TF has at another distance than their calibration.

    mounts: T_rig_view (4, 4) of each source, metres; None where it is not known.
    """
    for source, mount in zip(sources, mounts, strict=True):
        if mount is None:
            continue
        name, frame = source.view.name, source.frame_id
        if rig_frame in _BODY_FRAMES and not _is_optical(frame) and mount[2, 2] > _UPWARDS:
            text = (
                f"z of its frame {frame} points up in {rig_frame}, and images look along z: unless this camera looks "
                "at the sky, publish its optical frame (x right, y down, z forward; REP-104) and set "
                f"{name}.frame_id to that"
            )
            health.report(name, "optical frame", text, WARN)
        if source.beside:
            _check_baseline(source, mount, sources, mounts, health)


def _check_baseline(
    source: Source, mount: Matrix, sources: Sequence[Source], mounts: Sequence[Matrix | None], health: Health
) -> None:
    """Where the second camera of rectified stereo stands by P of its CameraInfo, against TF."""
    found = []
    for other, there in zip(sources, mounts, strict=True):
        if other is source or there is None or not other.rectified or other.beside or not _are_of_a_pair(source, other):
            continue
        rotation, translation = relative(mount, there)
        if np.degrees(rotation_angle(rotation)) < PAIR_DEG:
            found.append((abs(float(translation[0]) - source.beside), float(translation[0]), other.view.name))
    if not found:
        return
    apart, stands, first = min(found)
    if apart > max(_METRES, _SHARE * abs(source.beside)):
        text = (
            f"P of its CameraInfo has it {source.beside:.4g} m to the right of the first camera of its pair, TF has it "
            f"{stands:.4g} m to the right of {first}: depth goes by TF, and is wrong by that factor if TF is; "
            "correct the one that is wrong (metres)"
        )
        health.report(source.view.name, "baseline", text, WARN)


def _are_of_a_pair(one: Source, other: Source) -> bool:
    """Whether two rectified cameras have one image plane, as P of a pair does: its size, focal lengths and rows."""
    a, b = one.view.camera, other.view.camera
    if a is None or b is None or (a.width, a.height) != (b.width, b.height):
        return False
    return bool(np.allclose((a.fx, a.fy, a.cy), (b.fx, b.fy, b.cy), rtol=1e-3))


def _is_optical(frame: str) -> bool:
    return "optical" in frame.lower()
