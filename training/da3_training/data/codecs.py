# SPDX-License-Identifier: Apache-2.0
"""Depth files of the public data sets: each codec is one function from a path to depth along the optical axis."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Depth = NDArray[np.float32]
Codec = Callable[[Path, NDArray[np.float64], Mapping[str, float]], Depth]


def read_depth(path: Path, codec: str, intrinsics: NDArray[np.float64], extra: Mapping[str, float]) -> Depth:
    """Depth (H, W) in the unit of the data set, 0 or not finite where unknown.

    intrinsics: (3, 3) of the image, for codecs that store distance along the ray. Raises ValueError for an unknown
    codec or a file that is not what it should be.
    """
    if codec not in DEPTH:
        raise ValueError(f"unknown depth codec {codec!r}; allowed: {', '.join(DEPTH)}")
    depth = DEPTH[codec](path, intrinsics, extra)
    if depth.ndim != 2:
        raise ValueError(f"a depth map has two axes, this has shape {depth.shape}")
    return depth.astype(np.float32)


def read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Mask (H, W) = `size` of an image file: where its last channel (alpha, if it has one) is not 0; None if broken."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        return None
    channel = image if image.ndim == 2 else image[..., -1]
    if channel.shape != size:
        channel = cv2.resize(channel, size[::-1], interpolation=cv2.INTER_NEAREST)
    return channel > 0


def _png16(path: Path) -> NDArray[np.uint16]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        raise ValueError("not a 16-bit image of one channel")
    return image


def _png_mm(path: Path, intrinsics: NDArray[np.float64], extra: Mapping[str, float]) -> Depth:
    raw = _png16(path)
    return np.where(raw == 65535, np.nan, raw).astype(np.float32) / np.float32(1000)  # unknown, where 0 may mean sky


def _png_cm(path: Path, intrinsics: NDArray[np.float64], extra: Mapping[str, float]) -> Depth:
    return _png16(path).astype(np.float32) / np.float32(100)


def _png_kilometre(path: Path, intrinsics: NDArray[np.float64], extra: Mapping[str, float]) -> Depth:
    """PointOdyssey: 0 to 65535 are 0 to 1000 metres."""
    return _png16(path).astype(np.float32) * (1000 / 65535)


def _png_half(path: Path, intrinsics: NDArray[np.float64], extra: Mapping[str, float]) -> Depth:
    """CO3D: the 16 bits are those of a half-precision number."""
    return np.ascontiguousarray(_png16(path)).view(np.float16).astype(np.float32)


def _npy(path: Path, intrinsics: NDArray[np.float64], extra: Mapping[str, float]) -> Depth:
    return np.load(path, allow_pickle=False)


def _npz(path: Path, intrinsics: NDArray[np.float64], extra: Mapping[str, float]) -> Depth:
    with np.load(path, allow_pickle=False) as file:
        return file["depth"].astype(np.float32)


def _hdf5_distance(path: Path, intrinsics: NDArray[np.float64], extra: Mapping[str, float]) -> Depth:
    """Hypersim: distance to the camera's centre, in metres."""
    import h5py

    with h5py.File(path, "r") as file:
        distance = file["dataset"][:].astype(np.float32)
    h, w = distance.shape
    x = (np.arange(w) - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (np.arange(h) - intrinsics[1, 2]) / intrinsics[1, 1]
    return distance / np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2)


def _exr(path: Path, intrinsics: NDArray[np.float64], extra: Mapping[str, float]) -> Depth:
    import OpenEXR

    with OpenEXR.File(str(path), separate_channels=True) as file:
        channels = file.channels()
        for name in ("Y", "Z", "R", "depth.Z", "V"):
            if name in channels:
                return np.array(channels[name].pixels, dtype=np.float32)
        raise ValueError(f"none of its channels {sorted(channels)} is Y, Z, R, V or depth.Z")


def _pfm(path: Path, intrinsics: NDArray[np.float64], extra: Mapping[str, float]) -> Depth:
    with path.open("rb") as file:
        if file.readline().strip() != b"Pf":
            raise ValueError("not a PFM file of one channel")
        size = re.match(rb"\s*(\d+)\s+(\d+)", file.readline())
        if size is None:
            raise ValueError("the PFM header has no size")
        w, h = int(size[1]), int(size[2])
        order = "<f4" if float(file.readline()) < 0 else ">f4"
        values = np.frombuffer(file.read(4 * w * h), order)
    if len(values) != w * h:
        raise ValueError(f"the PFM holds {len(values)} of {w * h} values")
    return values.reshape(h, w)[::-1].astype(np.float32)


def _raw_float(path: Path, intrinsics: NDArray[np.float64], extra: Mapping[str, float]) -> Depth:
    """ETH3D: float32 values row by row without a header, infinity where unknown; `extra` has height and width."""
    h, w = int(extra["height"]), int(extra["width"])
    values = np.fromfile(path, "<f4")
    if len(values) != h * w:
        raise ValueError(f"the file holds {len(values)} values, {w} x {h} were expected")
    depth = values.reshape(h, w)
    return np.where(np.isfinite(depth), depth, 0)


DEPTH: dict[str, Codec] = {
    "png_mm": _png_mm,
    "png_cm": _png_cm,
    "png_kilometre": _png_kilometre,
    "png_half": _png_half,
    "npy": _npy,
    "npz": _npz,
    "hdf5_distance": _hdf5_distance,
    "exr": _exr,
    "pfm": _pfm,
    "raw_float": _raw_float,
}
