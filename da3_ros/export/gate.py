# SPDX-License-Identifier: Apache-2.0
"""The accuracy gate: does an engine say the same as the reference engine on real images?

Half precision and fused kernels fail without an error: NaN, a scale that wanders from frame to frame, wrong depth on
one generation of GPUs. So no plan is used before it has been compared with ONNX Runtime in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.engines import Engine, RawEstimate
from da3_ros.engines.plan import Shape
from da3_ros.files.images import read_image

Samples = dict[Shape, list[NDArray[np.uint8]]]
"""Images (S, h, w, 3) of each shape."""

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Tolerance:
    """Largest drift that is accepted, over all samples."""

    scale: float = 0.01
    """Of the median depth ratio from 1."""
    abs_rel: float = 0.02
    """Mean |d - d_reference| / d_reference."""
    rotation_deg: float = 0.5
    translation: float = 0.01
    """Of the camera position, in units of the median depth."""
    focal: float = 0.01
    """Of the focal length's ratio from 1."""


@dataclass(frozen=True)
class Drift:
    """Difference between two estimates of the same images; NaN where one of them is not finite."""

    scale_ratio: float
    """Median depth ratio of the view where it is farthest from 1."""
    abs_rel: float
    rotation_deg: float
    translation: float
    focal_ratio: float


@dataclass(frozen=True)
class GateReport:
    """Worst drift over all samples, and whether it is within tolerance."""

    passed: bool
    verdict: str
    """In words."""
    samples: int
    images: str
    """Where the images came from."""
    smallest_scale: float
    largest_scale: float
    """Range of the scale ratios: a wide one is a scale that wanders."""
    abs_rel: float
    rotation_deg: float
    translation: float
    focal_ratio: float
    reference: str
    tolerance: Tolerance

    def __str__(self) -> str:
        return (
            f"against {self.reference}: scale {self.smallest_scale:.4f} to {self.largest_scale:.4f}, "
            f"AbsRel {self.abs_rel:.4f}, rotation {self.rotation_deg:.2f} deg, position {self.translation:.4f} of the "
            f"depth, focal length {self.focal_ratio:.4f}: {'passed' if self.passed else 'REFUSED'}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For a plan's header; NaN becomes None."""
        values = asdict(self)
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()}


def compare(reference: RawEstimate, candidate: RawEstimate) -> Drift:
    """Drift of `candidate` from `reference`, the worst view of each figure."""
    a, b = _in_metres(reference), _in_metres(candidate)
    if (reference.metric_scale == 0) != (candidate.metric_scale == 0):
        return Drift(np.nan, np.nan, np.nan, np.nan, np.nan)
    arrays = (a.depth, a.extrinsics, a.intrinsics, b.depth, b.confidence, b.extrinsics, b.intrinsics)
    if not all(np.isfinite(x).all() for x in arrays) or not (b.depth > 0).all():
        return Drift(np.nan, np.nan, np.nan, np.nan, np.nan)
    flat = (len(a.depth), -1)
    ratio = (b.depth.astype(np.float64) / a.depth).reshape(flat)
    rotations = b.extrinsics[:, :3, :3].astype(np.float64) @ a.extrinsics[:, :3, :3].transpose(0, 2, 1)
    cosine = np.clip((np.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1)
    centres = [-np.einsum("sji,sj->si", e.extrinsics[:, :3, :3], e.extrinsics[:, :3, 3]) for e in (a, b)]
    moved = np.linalg.norm(centres[1] - centres[0], axis=1) / np.median(a.depth)
    focal = b.intrinsics[:, [0, 1], [0, 1]] / a.intrinsics[:, [0, 1], [0, 1]]
    return Drift(
        _farthest(np.median(ratio, axis=1)),
        float(np.abs(ratio - 1).mean(axis=1).max()),
        float(np.degrees(np.arccos(cosine)).max()),
        float(moved.max()),
        _farthest(focal),
    )


def _in_metres(raw: RawEstimate) -> RawEstimate:
    """All lengths in metres where the network tells them, so that a drift of what it tells is seen."""
    if not raw.metric_scale:
        return raw
    extrinsics = raw.extrinsics.copy()
    extrinsics[:, :, 3] *= raw.metric_scale
    return replace(raw, depth=raw.depth * np.float32(raw.metric_scale), extrinsics=extrinsics)


def check(
    reference: Engine,
    candidate: Engine,
    samples: Sequence[NDArray[np.uint8]],
    images: str,
    posed: bool = False,
    tolerance: Tolerance | None = None,
) -> GateReport:
    """Run both engines on `samples`, each (S, h, w, 3) uint8, and judge the drift.

    images: where the samples came from, for the record. posed: give both the cameras that the reference sees, so that
    the graph for known cameras is judged. Raises ValueError without samples, EngineError when an engine fails.
    """
    if not samples:
        raise ValueError("the accuracy gate needs at least one sample")
    tolerance = tolerance or Tolerance()
    drifts = []
    for sample in samples:
        known: tuple[Any, ...] = ()
        expected = reference.run(sample)
        if posed:
            extrinsics = np.tile(np.eye(4, dtype=np.float32), (len(sample), 1, 1))
            extrinsics[:, :3] = expected.extrinsics
            known = (extrinsics, expected.intrinsics)
            expected = reference.run(sample, *known)
        drifts.append(compare(expected, candidate.run(sample, *known)))
    scales = [drift.scale_ratio for drift in drifts]
    worst = Drift(
        _farthest(np.array(scales)),
        max(drift.abs_rel for drift in drifts),
        max(drift.rotation_deg for drift in drifts),
        max(drift.translation for drift in drifts),
        _farthest(np.array([drift.focal_ratio for drift in drifts])),
    )
    failures = judge(worst, tolerance)
    return GateReport(
        passed=not failures,
        verdict="; ".join(failures) or f"within tolerance on {len(samples)} samples",
        samples=len(samples),
        images=images,
        smallest_scale=float(np.min(scales)),
        largest_scale=float(np.max(scales)),
        abs_rel=worst.abs_rel,
        rotation_deg=worst.rotation_deg,
        translation=worst.translation,
        focal_ratio=worst.focal_ratio,
        reference=reference.info.backend,
        tolerance=tolerance,
    )


def judge(drift: Drift, tolerance: Tolerance) -> list[str]:
    """What exceeds the tolerance, in words; empty when nothing does."""
    if not np.isfinite(drift.scale_ratio):
        return ["its output is not finite, or its depth not positive"]
    checks = (
        ("scale", f"{drift.scale_ratio:.4f} times the reference's", abs(drift.scale_ratio - 1), tolerance.scale),
        ("depth (AbsRel)", f"{drift.abs_rel:.4f}", drift.abs_rel, tolerance.abs_rel),
        ("rotation", f"{drift.rotation_deg:.2f} degrees", drift.rotation_deg, tolerance.rotation_deg),
        ("position", f"{drift.translation:.4f} of the median depth", drift.translation, tolerance.translation),
        ("focal length", f"{drift.focal_ratio:.4f} times the reference's", abs(drift.focal_ratio - 1), tolerance.focal),
    )
    return [f"{name} differs by {words}, allowed {limit:g}" for name, words, value, limit in checks if value > limit]


def gather_samples(folder: Path | None, shapes: Sequence[Shape], report: Callable[[str], None]) -> tuple[Samples, str]:
    """Samples of every shape from the images of a folder, or drawn, aloud, where there is none; and their source.

    Raises ValueError when the folder holds no image that can be read.
    """
    if folder is not None:
        return {shape: load_samples(folder, shape) for shape in shapes}, str(folder)
    report("the accuracy gate judges on a drawn scene; --images DIR with pictures of your cameras is better")
    return {shape: drawn_samples(shape) for shape in shapes}, "a drawn scene"


def load_samples(folder: Path, shape: Shape, most: int = 4) -> list[NDArray[np.uint8]]:
    """Up to `most` samples of `shape` from the images of a folder in order of name; images are used again if few.

    Raises ValueError when the folder holds no image that can be read.
    """
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in _SUFFIXES)
    if not paths:
        raise ValueError(f"{folder} holds no images ({', '.join(sorted(_SUFFIXES))})")
    count = max(1, min(most, len(paths) // shape.views))
    samples = []
    for first in range(count):
        views = []
        for i in range(shape.views):
            path = paths[(first * shape.views + i) % len(paths)]
            image = read_image(path)
            views.append(cv2.resize(image, (shape.width, shape.height), interpolation=cv2.INTER_AREA))
        samples.append(np.stack(views).astype(np.uint8))
    return samples


def drawn_samples(shape: Shape, most: int = 2) -> list[NDArray[np.uint8]]:
    """Samples of a drawn room with a tiled floor and boxes, seen from positions side by side; better than noise."""
    return [
        np.stack([_draw(shape.height, shape.width, 0.4 * i + 0.9 * n) for i in range(shape.views)]) for n in range(most)
    ]


def _draw(height: int, width: int, x: float) -> NDArray[np.uint8]:
    """A room of 6 x 3 m, 8 m deep, from a camera at (x, 0, 0) that looks along z; y points down."""
    focal = 0.7 * width
    v, u = np.mgrid[:height, :width].astype(np.float64)
    ray = np.stack([(u - width / 2) / focal, (v - height / 2) / focal, np.ones_like(u)], axis=-1)
    best = np.full((height, width), np.inf)
    image = np.zeros((height, width, 3))
    origin = np.array([x, 0.0, 0.0])
    # axis, coordinate, bounds on the other two axes, colour, tile size in metres
    walls = [
        (1, 1.5, (-6, 6, 0, 8), (150, 130, 110), 0.5), (1, -1.5, (-6, 6, 0, 8), (225, 225, 220), 2.0),
        (0, -3.0, (-1.5, 1.5, 0, 8), (190, 170, 120), 1.0), (0, 5.0, (-1.5, 1.5, 0, 8), (120, 160, 190), 1.0),
        (2, 8.0, (-6, 6, -1.5, 1.5), (200, 190, 180), 0.8), (2, 3.0, (-0.8, 0.2, 0.2, 1.5), (170, 60, 50), 0.3),
        (2, 4.5, (1.0, 2.2, -0.4, 1.5), (60, 110, 70), 0.4), (2, 2.2, (2.5, 3.0, 0.8, 1.5), (50, 70, 150), 0.2),
    ]  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis, coordinate, bounds, colour, tile in walls:
            distance = (coordinate - origin[axis]) / ray[..., axis]
            point = origin + distance[..., None] * ray
            first, second = (point[..., i] for i in range(3) if i != axis)
            inside = (first > bounds[0]) & (first < bounds[1]) & (second > bounds[2]) & (second < bounds[3])
            hit = (distance > 0.05) & (distance < best) & inside
            odd = (np.floor(first / tile) + np.floor(second / tile)) % 2
            shade = (1 - 0.25 * odd) / (1 + 0.06 * distance)
            image[hit] = (np.asarray(colour) * shade[..., None])[hit]
            best[hit] = distance[hit]
    grain = np.random.default_rng(7).normal(0, 3, image.shape)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def _farthest(ratios: NDArray[Any]) -> float:
    values = np.asarray(ratios, dtype=np.float64).ravel()
    return float(values[np.argmax(np.abs(values - 1))])
