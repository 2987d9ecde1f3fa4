# SPDX-License-Identifier: Apache-2.0
"""What every reader makes of what it finds: pictures in the order of their stamps, cameras, poses, depth.

A source is a list: nothing of a picture is read before `da3_ros.bag.sources.pixels` is asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import interpolate

Array = NDArray[np.float64]
RIG = "rig"
"""Frame that carries the cameras of a source; it moves in `WORLD`."""
WORLD = "world"
"""Frame of a source's poses."""


class SourceError(ValueError):
    """What is there cannot be read as what it looks like; the message says what to do."""


@dataclass(frozen=True)
class Reading:
    """What the user adds to a source; can be pickled. Raises SourceError for a value that makes no sense."""

    fps: float = 0.0
    """Pictures a second that are taken, at most; of pictures without stamps: how many were taken a second. 0: of videos
    `VIDEO_FPS`, of other recordings with stamps all; `NOMINAL_FPS`."""
    camera_info: tuple[str, ...] = ()
    """Files of calibrations, as ``NAME=FILE``, or ``FILE`` where it tells its cameras itself."""
    poses: Path | None = None
    """File of poses: TUM's format or KITTI's."""
    metres_per_unit: float = 0.0
    """Metres in one unit of the lengths of its poses; 0: they are as it says."""

    def __post_init__(self) -> None:
        for name, value in (("fps", self.fps), ("metres_per_unit", self.metres_per_unit)):
            if not 0 <= value < float("inf"):
                option = f"--{name.replace('_', '-')}"
                raise SourceError(f"{option} {value:g}: it must be a positive number, or be left out")


VIDEO_FPS = 5.0
"""Of a video, unless told: neighbours at 30 a second show nearly the same, and each costs the network as much."""
NOMINAL_FPS = 10.0
"""Of pictures that say nothing of their time."""
START_NS = 1_000_000_000
"""Stamp of the first picture where nothing tells the time: a stamp of zero means none in ROS."""


@dataclass(frozen=True)
class Camera:
    """A camera of a source."""

    name: str
    """Letters, digits and ``_``: a name for topics, too."""
    model: CameraModel | None = None
    """Calibration; None: unknown, or another one for each picture."""
    T_rig_camera: Array | None = None
    """(4, 4), where it sits in the rig, in metres; None: unknown."""
    spare: bool = False
    """Whether it is used only where the user names it."""


@dataclass(frozen=True)
class Shot:
    """One picture, not read yet."""

    camera: str
    stamp_ns: int
    path: Path
    """Its file, or the video that it is in."""
    frame: int = -1
    """Its number in a video; -1: a file of its own."""
    turns: int = 0
    """Turns by 90 degrees, clockwise, that set it upright, and that are to be made."""
    model: CameraModel | None = None
    """Calibration of this picture alone; None: that of its camera."""


@dataclass(frozen=True)
class Track:
    """Where the rig was."""

    stamps_ns: NDArray[np.int64]
    """(N,), rising."""
    T_world_rig: Array
    """(N, 4, 4)."""
    unit: str = "metres"
    """What its lengths are in, in words."""

    @classmethod
    def of(cls, stamps_ns: NDArray[np.int64], T_world_rig: Array) -> Track:
        """Of poses (N, 4, 4) in any order; of several of one stamp the first one."""
        stamps, first = np.unique(stamps_ns, return_index=True)
        return cls(stamps, np.asarray(T_world_rig)[first])

    @property
    def is_metric(self) -> bool:
        return self.unit == "metres"

    def at(self, stamp_ns: int) -> Array | None:
        """T_world_rig (4, 4) at a time, between its neighbours; None before the first and after the last pose."""
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if after < len(self.stamps_ns) and self.stamps_ns[after] == stamp_ns:
            return np.asarray(self.T_world_rig[after])
        if not 0 < after < len(self.stamps_ns):
            return None
        begin, end = (int(self.stamps_ns[number]) for number in (after - 1, after))
        return interpolate(self.T_world_rig[after - 1], self.T_world_rig[after], (stamp_ns - begin) / (end - begin))


@dataclass(frozen=True)
class DepthImages:
    """Pictures of a depth camera: distances along the optical axis in 16 bits, 0 where there is none."""

    camera: str
    """Whose pixels they share: calibration, size and place are that camera's, which has one for all its pictures."""
    shots: tuple[Shot, ...]
    units_per_metre: float


@dataclass(frozen=True)
class Scans:
    """What a LiDAR measured: files of float32, x y z and intensity of each point, in metres."""

    stamps_ns: tuple[int, ...]
    paths: tuple[Path, ...]
    T_rig_sensor: Array
    """(4, 4)."""


@dataclass(frozen=True)
class Source:
    """What was recorded, however it is stored: `len` and index give its pictures."""

    kind: str
    """What it is, for people: ``a video``, ``a COLMAP model``."""
    root: Path
    cameras: tuple[Camera, ...]
    shots: tuple[Shot, ...]
    """In the order of their stamps, those of one stamp in that of the cameras."""
    track: Track | None = None
    depth: DepthImages | None = None
    scans: Scans | None = None
    files: tuple[Path, ...] = ()
    """What was read beside the pictures: indexes, calibrations, poses."""
    notes: tuple[str, ...] = ()
    """What is assumed, in words."""
    problems: tuple[str, ...] = ()
    """What of it is lost, in words."""
    is_timed: bool = True
    """Whether the stamps are those that the pictures were taken at, and not counted."""
    zero_ns: int = 0
    """Stamp of the moment that its own clock calls zero."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the node that suit it while its lengths are no metres, by their dotted names; the user's win."""

    def __len__(self) -> int:
        return len(self.shots)

    def __getitem__(self, number: int) -> Shot:
        return self.shots[number]

    def every_file(self) -> list[Path]:
        """All that is read, each once."""
        depth = self.depth.shots if self.depth is not None else ()
        scans = self.scans.paths if self.scans is not None else ()
        return list(dict.fromkeys((*self.files, *(shot.path for shot in (*self.shots, *depth)), *scans)))

    @cached_property
    def _cameras(self) -> dict[str, Camera]:
        return {camera.name: camera for camera in self.cameras}

    @cached_property
    def _by_camera(self) -> dict[str, list[Shot]]:
        found: dict[str, list[Shot]] = {camera.name: [] for camera in self.cameras}
        for shot in self.shots:
            found[shot.camera].append(shot)
        return found

    def camera(self, name: str) -> Camera:
        """The camera of a name. Raises KeyError."""
        return self._cameras[name]

    def of(self, camera: str) -> Sequence[Shot]:
        """The pictures of a camera. Raises KeyError."""
        return self._by_camera[camera]

    def model_of(self, shot: Shot) -> CameraModel | None:
        """Calibration of a picture; None where it is unknown."""
        return shot.model or self.camera(shot.camera).model

    @property
    def is_calibrated(self) -> bool:
        """Whether every picture of the cameras that are used has a calibration."""
        spare = {camera.name for camera in self.cameras if camera.spare}
        return all(self.model_of(shot) is not None for shot in self.shots if shot.camera not in spare)


def in_order(shots: list[Shot], cameras: list[str]) -> tuple[Shot, ...]:
    """By stamp, and by the order of the cameras."""
    place = {name: number for number, name in enumerate(cameras)}
    return tuple(sorted(shots, key=lambda shot: (shot.stamp_ns, place[shot.camera])))
