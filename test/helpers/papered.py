# SPDX-License-Identifier: Apache-2.0
"""Papered sheets in space and cameras that look at them: images and depth are exact, whatever the poses.

A pixel's ray is cut with every sheet, and the paper is read where the nearest one is hit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from da3_ros.estimation.refinement.frame import Frame
from da3_ros.estimation.refinement.pairs import Posed
from da3_ros.estimation.refinement.refine import Subject
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation

SMALL = CameraModel.pinhole(126, 98, 100.0, 100.0, 64.0, 47.0)
NETWORK = CameraModel.pinhole(252, 196, 200.0, 200.0, 128.0, 94.0)
EXACT = (np.radians(0.05), 0.001)
"""Standard deviations of a good calibration: radians, metres."""


@dataclass(frozen=True)
class Sheet:
    """Part of a plane: ``centre + x across + y down``."""

    centre: tuple[float, float, float]
    across: tuple[float, float, float] = (1.0, 0.0, 0.0)
    down: tuple[float, float, float] = (0.0, 1.0, 0.0)
    half: tuple[float, float] = (np.inf, np.inf)
    """Metres along x and y from the centre to the border."""
    paper: int | np.ndarray = 0
    """A seed, or (h, w) grey levels."""
    density: float = 60.0
    """Pixels of the paper in a metre."""

    def hit(self, rays: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Length of rays (h, w, 3) up to the sheet, infinite where they miss it, and grey levels, each (h, w)."""
        axes = np.array([self.across, self.down], float)
        normal = np.cross(*axes)
        to_sheet = np.array(self.centre) - origin
        slope, along, below = np.moveaxis(rays @ np.stack([normal, *axes], axis=1), -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            length = normal @ to_sheet / slope
            x, y = ((length * part - to_sheet @ a) / (a @ a) for part, a in zip((along, below), axes, strict=True))
            missed = ~((length > 0) & (np.abs(x) <= self.half[0]) & (np.abs(y) <= self.half[1]))
        paper = wallpaper(self.paper) if isinstance(self.paper, int) else self.paper
        h, w = paper.shape
        grey = np.full(length.shape, paper[h // 2, w // 2], np.float32)
        rows, columns = (np.flatnonzero(~missed.all(axis=axis)) for axis in (1, 0))
        if len(rows):  # most of a room's boards cover little of a picture
            part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            out = missed[part]
            u, v = (
                (np.where(out, 0, at[part]) * self.density + side / 2).astype(np.float32)
                for at, side in ((x, w), (y, h))
            )
            grey[part] = cv2.remap(paper, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
        return np.where(missed, np.inf, length), grey


SLANTED = Sheet((0.0, 0.0, 2.0), across=(1.0, 0.0, 0.3))
"""z = 2 + 0.3 x."""


@lru_cache(40)
def wallpaper(seed: int) -> np.ndarray:
    """Paper (600, 900) of smooth noise, 20 to 235."""
    noise = np.random.default_rng(seed).uniform(0, 1, (600, 900)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5, borderType=cv2.BORDER_REFLECT)
    return np.clip(128 + 60 * (smooth - smooth.mean()) / smooth.std(), 20, 235).astype(np.float32)


def stripes(period: float, side: int = 900) -> np.ndarray:
    """Paper (600, side) that repeats along x every `period` pixels, which must divide the side, and hardly along y."""
    columns = 60 * np.sin(2 * np.pi * np.arange(side) / period) + 20 * np.cos(4 * np.pi * np.arange(side) / period)
    return np.repeat((128 + columns)[None], 600, axis=0).astype(np.float32)


def pose(*place: float, turn: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """T_world_camera of a camera at x y z in metres, turned by a rotation vector in degrees."""
    return from_rotation_translation(cv2.Rodrigues(np.radians(np.array(turn)))[0], np.array(place))


def render(sheets: Sequence[Sheet], camera: CameraModel, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels and depth in metres along the optical axis, both (h, w) float32."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], -1) @ at[:3, :3].T
    depth, grey = sheets[0].hit(rays, at[:3, 3])
    for sheet in sheets[1:]:
        length, other = sheet.hit(rays, at[:3, 3])
        is_nearer = length < depth
        depth, grey = np.where(is_nearer, length, depth), np.where(is_nearer, other, grey)
    return np.clip(grey, 0, 255).astype(np.float32), depth.astype(np.float32)


def frame(sheets: Sequence[Sheet], camera: CameraModel, at: np.ndarray, wrong: np.ndarray | float = 0.0) -> Frame:
    """What a camera sees, and its true log depth with something added to it."""
    grey, depth = render(sheets, camera, at)
    return Frame(grey, camera, at, (np.log(depth) + np.float32(wrong)).astype(np.float32))


def posed(
    sheets: Sequence[Sheet],
    at: np.ndarray,
    wrong: np.ndarray | float = 0.0,
    *,
    camera: CameraModel = SMALL,
    said: np.ndarray | None = None,
    sigma: tuple[float, float] = EXACT,
    body: int = 0,
    wanted: bool = True,
) -> Posed:
    """A view from `at` of which `said` is told, at a size and at three times of it."""
    true = frame(sheets, camera, at, wrong)
    given = Frame(true.grey, camera, at if said is None else said, true.log_depth)
    return Posed(given, large(sheets, camera, at), sigma, body, wanted)


def large(sheets: Sequence[Sheet], camera: CameraModel, at: np.ndarray) -> np.ndarray:
    """The same image (3 h, 3 w) uint8."""
    wide = camera.scaled(3 * camera.width, 3 * camera.height)
    return np.rint(render(sheets, wide, at)[0]).astype(np.uint8)


def subject(sheets: Sequence[Sheet], at: np.ndarray | None, wrong: np.ndarray | float = 0.0, **known) -> Subject:
    """A view to refine, seen from `at` (None: from the origin, which is not told); known: other fields of `Subject`."""
    place = np.eye(4) if at is None else at
    camera = known.pop("camera", SMALL)
    grey, depth = render(sheets, camera, place)
    fields = {
        "depth": (depth * np.exp(wrong)).astype(np.float32),
        "confidence": np.full(depth.shape, 1.5, np.float32),
        "image": _rgb(np.rint(grey).astype(np.uint8)),
        "large": _rgb(large(sheets, camera, place)),
        "camera": camera,
        "pose": at,
        "sigma": EXACT,
    }
    return Subject(**{**fields, **known})


def _rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def room(seed: int, boards: int = 14) -> list[Sheet]:
    """A back wall, a floor, and boards that stand and hang between: no two of it at one depth."""
    rng = np.random.default_rng(seed)
    out = [Sheet((0, 0, 5), across=(1, 0, rng.uniform(-0.3, 0.3)), paper=100 + seed)]
    out.append(Sheet((0, 1.2, 2), down=(0, 0, 1), paper=200 + seed))
    for k in range(boards):
        z = rng.uniform(1.2, 4.5)
        half = rng.uniform(0.05, 0.18) * z
        place = rng.uniform(-0.6, 0.6) * z, rng.uniform(-0.4, 0.4) * z, z
        turned, size = (1, 0, rng.uniform(-0.6, 0.6)), (half, half * rng.uniform(0.5, 2))
        out.append(Sheet(place, across=turned, half=size, paper=300 + 20 * seed + k))
    return out


def network_error(camera: CameraModel, seed: int, spread: float, reach: float = 45.0) -> np.ndarray:
    """Random error (h, w) of log depth: of standard deviation `spread`, alike in pixels nearer to each other than
    `reach`, and one of the scale.
    """
    h, w = 2 * camera.height, 2 * camera.width
    rows, columns = (np.minimum(np.arange(n), n - np.arange(n)) for n in (h, w))
    power = np.maximum(np.fft.fft2(np.exp(-np.hypot(rows[:, None], columns[None]) / reach)).real, 0)
    rng = np.random.default_rng(seed)
    field = np.fft.ifft2(np.fft.fft2(rng.normal(0, 1, (h, w))) * np.sqrt(power)).real
    return (spread * field[: camera.height, : camera.width] + rng.normal(0, 0.1)).astype(np.float32)


def bent(camera: CameraModel = SMALL, by: float = 0.3) -> np.ndarray:
    """Smooth error (h, w) of log depth, as a network's: `by` at most, and over the whole image."""
    x, y = np.arange(camera.width) / camera.width, np.arange(camera.height) / camera.height
    return (by * np.sin(5 * x)[None] * np.cos(3 * y)[:, None]).astype(np.float32)
