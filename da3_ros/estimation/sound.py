# SPDX-License-Identifier: Apache-2.0
"""What an engine says, checked once before anything rests on it: the bounds of the paper hold for no engine by itself.

16-bit arithmetic overflows, plans go wrong, drivers too. A pixel that cannot be becomes NaN, a camera that cannot be is
not used, and both are told; a set of which too much is wrong is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines import EngineError, EngineInfo, RawEstimate
from da3_ros.engines.engine import ASSUMED_FIELD
from da3_ros.engines.files import SKY_THRESHOLD
from da3_ros.estimation.preprocess import why_unseen
from da3_ros.estimation.views import EngineFault, View
from da3_ros.geometry.poses import nearest_rotation

MOST_BAD = 0.05
"""Share of bad pixels beyond which a set is refused: what breaks so much may have bent the rest."""
LARGEST, SMALLEST = 1e6, 1e-6
"""Depth in the network's unit, which is about that of the scene: beyond is overflow, not distance."""
HAIR = 0.01
"""Confidence may be this much below 1: 1 in 16 bits is rounded to steps of up to 0.004."""
TURN = 0.03
"""How far R R^T may be from the identity: 16 bits round a quaternion so."""
FIELD = (np.radians(1e-5), np.radians(179.9))
"""Allowed field of view, in the open interval of 0 to 180 degrees: at its ends the focal length has no end, or is 0."""

Mask = NDArray[np.bool_]
Windows = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Sound:
    """An engine's estimate that can be worked with, and what was wrong with it."""

    raw: RawEstimate
    """Bad depth is NaN (confidence 1, no sky); a bad pose is the identity, bad intrinsics are those of an assumed
    camera."""
    posed: Mask
    """(S,) of which views the network's pose can be used."""
    faults: tuple[EngineFault, ...] = ()


def sound(
    raw: RawEstimate,
    windows: Windows,
    names: Sequence[str],
    info: EngineInfo,
    cameras: Callable[[RawEstimate], RawEstimate] | None = None,
) -> Sound:
    """Check what an engine says of S views.

    windows: height and width of each view's content in the network's input, names: of the views; cameras: what makes
    other cameras of the estimate (its ray map), before these are checked. Raises EngineError, with what was found and
    what to do, for arrays of another shape, and where more than 5 % of the content's pixels, or all cameras, are bad.
    """
    raw = _shaped(raw, len(windows))
    told: list[list[str]] = [[] for _ in windows]
    raw, shares = _pixels(raw, windows, told)
    raw = _further(raw, windows, told)
    raw = raw if cameras is None else cameras(raw)
    raw, posed, seen = _cameras(raw, told)
    area = np.array([h * w for h, w in windows], np.float64)
    whole = float((shares * area).sum() / area.sum())
    if whole > MOST_BAD or not (posed.any() and seen.any()):
        worst = max(range(len(told)), key=lambda i: (float(shares[i]), len(told[i])))
        raise EngineError(
            f"the engine's answer cannot be used: {100 * whole:.1f} % of its pixels and "
            f"{int((~(posed & seen)).sum())} of {len(posed)} cameras are bad (allowed are {100 * MOST_BAD:.0f} % of "
            f"the pixels, and a camera must be left); view {names[worst]!r}: {', '.join(told[worst])}. {remedy(info)}"
        )
    faults = tuple(
        EngineFault(
            i, names[i], float(shares[i]), f"the engine's answer is partly unusable: {', '.join(words)}. {remedy(info)}"
        )
        for i, words in enumerate(told)
        if words
    )
    return Sound(raw, posed, faults)


def unseen(found: Sound, views: Sequence[View], blind: Sequence[Mask | None] = ()) -> Sound:
    """Without depth of what the network cannot see: views of a shape that is none for it, which the faults say, and the
    pixels that are `blind`, (h, w) of each view's content. Their confidence is 1, and they are no sky.
    """
    reasons = {i: why for i, view in enumerate(views) if (why := why_unseen(view.image))}
    if not reasons and all(mask is None for mask in blind):
        return found
    raw = found.raw
    depth, confidence = raw.depth.copy(), raw.confidence.copy()
    sky = None if raw.sky is None else raw.sky.copy()
    depth[list(reasons)] = np.nan
    for i, mask in enumerate(blind):
        if mask is not None:
            place = (i, *(slice(side) for side in mask.shape))
            depth[place][mask] = np.nan
            confidence[place][mask] = 1
            if sky is not None:
                sky[place][mask] = 0
    faults = [fault for fault in found.faults if fault.index not in reasons]
    faults += [EngineFault(i, views[i].name, 1.0, f"{why}; its depth is unknown") for i, why in reasons.items()]
    return Sound(dataclasses.replace(raw, depth=depth, confidence=confidence, sky=sky), found.posed, tuple(faults))


def remedy(info: EngineInfo) -> str:
    """What to do about an engine whose numbers cannot be."""
    backend = info.backend.lower()
    if "fp16" in backend or "bf16" in backend:
        other = "" if backend.startswith("openvino") else f" (`da3 build {info.model} --precision fp32`)"
        return f"16-bit arithmetic overflows so: take fp32{other}, or run it with DA3_ENGINE=onnxruntime"
    return (
        f"{info.backend} computes in 32 bits, so that its graph or driver is to blame: export {info.model} again with "
        "`da3 export --precision fp32`, or take another engine (DA3_ENGINE) or model"
    )


def _shaped(raw: RawEstimate, views: int) -> RawEstimate:
    """Arrays of float32 whose shapes belong together. Raises EngineError."""
    depth = np.asarray(raw.depth)
    shape = depth.shape
    if depth.ndim != 3 or shape[0] != views:
        raise EngineError(f"the engine's depth has the shape {shape}, {views} views of h x w were asked for")
    wanted: dict[str, tuple[int | None, ...]] = {
        "depth": shape,
        "confidence": shape,
        "extrinsics": (views, 3, 4),
        "intrinsics": (views, 3, 3),
        "sky": shape,
        "rays": (views, None, None, 6),
        "ray_confidence": (views, None, None),
        "gaussians": (*shape, None),
    }
    found: dict[str, Any] = {}
    for name, sides in wanted.items():
        value = getattr(raw, name)
        if value is None:
            continue
        values = np.asarray(value, np.float32)
        if values.ndim != len(sides) or any(s not in (None, own) for s, own in zip(sides, values.shape, strict=True)):
            raise EngineError(f"the engine's {name} has the shape {values.shape}, with depth of {shape}")
        found[name] = values
    return dataclasses.replace(raw, **found)


def _pixels(raw: RawEstimate, windows: Windows, told: list[list[str]]) -> tuple[RawEstimate, NDArray[np.float64]]:
    """Depth, confidence and sky without what cannot be; the share (S,) of bad pixels of each view's content."""
    depth, confidence, sky = raw.depth, raw.confidence, raw.sky
    shares = np.zeros(len(windows))
    # The extremes tell that all is well, at a fraction of the cost of looking at every pixel; NaN is in both.
    fine = _within(depth, SMALLEST, LARGEST) and _within(confidence, 1.0 - HAIR, LARGEST)
    if fine and (sky is None or _within(sky, -LARGEST, LARGEST)):
        # A hair below 1 is no fault.
        low = confidence.min() < 1
        return (dataclasses.replace(raw, confidence=np.maximum(confidence, np.float32(1))) if low else raw), shares
    is_sky = np.zeros(depth.shape, bool) if sky is None else np.isfinite(sky) & (sky >= SKY_THRESHOLD)
    with np.errstate(invalid="ignore"):
        kinds: dict[str, Mask] = {
            "no number": np.isnan(depth),
            "infinite or beyond any scene": np.abs(depth) > LARGEST,
            "zero or negative": depth < SMALLEST,
            "of a confidence below 1 or not finite": _outside(confidence, 1.0 - HAIR, LARGEST),
        }
    # How far sky is says nothing: it is published as beyond every range.
    counted = {name: mask & ~is_sky for name, mask in kinds.items()}
    if sky is not None:
        kinds["of a sky that is no number"] = counted["of a sky that is no number"] = ~np.isfinite(sky)
    bad = np.asarray(np.stack(list(kinds.values())).any(axis=0))
    lost = np.asarray(np.stack(list(counted.values())).any(axis=0))
    for i, (h, w) in enumerate(windows):
        number = int(lost[i, :h, :w].sum())
        shares[i] = number / (h * w)
        if number:
            each = {name: int(mask[i, :h, :w].sum()) for name, mask in counted.items()}
            parts = ", ".join(f"{count} {name}" for name, count in each.items() if count)
            told[i].append(f"{100 * shares[i]:.2g} % of its pixels ({parts}) are bad, their depth is unknown")
    depth = np.where(bad, np.float32(np.nan), depth)
    confidence = np.where(bad, np.float32(1), np.maximum(confidence, np.float32(1)))
    sky = None if sky is None else np.where(np.isfinite(sky), sky, np.float32(0))
    return dataclasses.replace(raw, depth=depth, confidence=confidence, sky=sky), shares


def _further(raw: RawEstimate, windows: Windows, told: list[list[str]]) -> RawEstimate:
    """Rays, Gaussians and metres without what cannot be."""
    changed: dict[str, Any] = {}
    if raw.rays is not None and raw.ray_confidence is not None:
        fine = _within(raw.rays, -LARGEST, LARGEST) and _within(raw.ray_confidence, 0.0, LARGEST)
        if not fine:
            changed.update(_rays(raw.rays, raw.ray_confidence, told))
    if raw.gaussians is not None and not _within(raw.gaussians, -LARGEST, LARGEST):
        bad = np.asarray(_outside(raw.gaussians, -LARGEST, LARGEST).any(axis=-1))
        for i, (h, w) in enumerate(windows):
            if number := int(bad[i, :h, :w].sum()):
                told[i].append(f"{100 * number / (h * w):.2g} % of its Gaussians are not finite and left out")
        changed["gaussians"] = np.where(bad[..., None], np.float32(np.nan), raw.gaussians)
    metres = raw.metric_scale
    if metres is not None and not 0 <= metres <= LARGEST:
        told[0].append(f"the metres in a unit of the network are {metres}, as if it told none")
        changed["metric_scale"] = 0.0
    return dataclasses.replace(raw, **changed) if changed else raw


def _rays(
    rays: NDArray[np.float32], confidence: NDArray[np.float32], told: list[list[str]]
) -> dict[str, NDArray[np.float32]]:
    """Ray maps whose bad rays weigh nothing; those of a view with too many are all NaN, so that no camera is found."""
    bad = _outside(rays, -LARGEST, LARGEST).any(axis=-1) | _outside(confidence, 0.0, LARGEST)
    rays = np.where(bad[..., None], np.float32(0), rays)
    least = np.where(bad, np.float32(np.inf), confidence).min(axis=(1, 2), keepdims=True)
    confidence = np.where(bad, least, confidence)
    for i, share in enumerate(bad.mean(axis=(1, 2))):
        if share:
            told[i].append(f"{100 * share:.2g} % of its rays are not finite")
        if share > MOST_BAD:
            rays[i] = np.nan
    return {"rays": rays, "ray_confidence": confidence}


def _cameras(raw: RawEstimate, told: list[list[str]]) -> tuple[RawEstimate, Mask, Mask]:
    """Cameras without what cannot be, and of which views (S,) pose and intrinsics are the network's."""
    height, width = raw.depth.shape[1:]
    extrinsics, intrinsics = raw.extrinsics.copy(), raw.intrinsics.copy()
    posed, seen = np.ones(len(told), bool), np.ones(len(told), bool)
    changed = False
    for i in range(len(told)):
        pose, why = _pose(extrinsics[i])
        if why:
            posed[i] = False
            told[i].append(f"its pose by the network is none ({why}) and not used")
        if pose is not None:
            extrinsics[i], changed = pose, True
        if why := _no_camera(intrinsics[i], height, width):
            seen[i], changed = False, True
            focal = width / (2 * np.tan(ASSUMED_FIELD / 2))
            intrinsics[i] = [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]
            degrees = round(np.degrees(ASSUMED_FIELD))
            told[i].append(f"its camera by the network is none ({why}): where none is given, {degrees} deg are assumed")
    if changed:
        raw = dataclasses.replace(raw, extrinsics=extrinsics, intrinsics=intrinsics)
    return raw, posed, seen


def _pose(extrinsics: NDArray[np.float32]) -> tuple[NDArray[np.float64] | None, str]:
    """What stands for T_camera_world (3, 4), None for itself; and why it is none."""
    values = extrinsics.astype(np.float64)
    if not (np.abs(values) <= LARGEST).all():
        return np.eye(3, 4), "not finite"
    rotation = values[:, :3]
    off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if off > TURN or np.linalg.det(rotation) < 0:
        return np.eye(3, 4), f"its rotation is off by {off:.2g}" if off > TURN else "its rotation mirrors"
    if off < 1e-5:
        return None, ""
    return np.concatenate([nearest_rotation(rotation), values[:, 3:]], axis=1), ""


def _no_camera(intrinsics: NDArray[np.float32], height: int, width: int) -> str:
    """Why intrinsics (3, 3) are those of no camera; empty: they are fine."""
    fx, fy, cx, cy = (float(intrinsics[i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    if not np.isfinite([fx, fy, cx, cy]).all():
        return "not finite"
    if fx <= 0 or fy <= 0:
        return f"focal lengths {fx:.4g} and {fy:.4g}"
    fields = [np.arctan(c / f) + np.arctan((side - c) / f) for f, c, side in ((fx, cx, width), (fy, cy, height))]
    if not all(FIELD[0] < field < FIELD[1] for field in fields):
        return "field of view " + " x ".join(f"{np.degrees(field):.3g}" for field in fields) + " deg"
    return "" if 0 <= cx <= width and 0 <= cy <= height else f"principal point ({cx:.4g}, {cy:.4g}) outside the image"


def _outside(values: NDArray[np.float32], low: float, high: float) -> Mask:
    """Which values are not from low to high; NaN is not."""
    with np.errstate(invalid="ignore"):
        return np.asarray(~((values >= low) & (values <= high)))


def _within(values: NDArray[np.float32], low: float, high: float) -> bool:
    """Whether all values are from low to high; NaN is not."""
    return values.size == 0 or bool(values.min() >= low and values.max() <= high)
