# SPDX-License-Identifier: Apache-2.0
"""One view as bytes: an image file, depth in 16 bits, masks in 8, and what is not pixels as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry import CameraModel
from da3_training.data.records import BrokenSampleError, Record

LEVELS = 65_534
"""Depth values of 16 bits; 0 is "unknown"."""
VALID, SKY, SKY_KNOWN, OBJECT, OBJECT_KNOWN = 1, 2, 4, 8, 16
JPEG_QUALITY = 95
Kind = TypeVar("Kind", bound=np.generic)


def encode_depth(depth: NDArray[np.float32]) -> tuple[bytes, float, float]:
    """PNG of depth (H, W), 0 unknown, and the logarithms of its least and largest value.

    Levels are even in log depth: from 0.1 to 1000 units they are 0.014 % apart, near and far.
    """
    known = depth > 0
    low = math.log(float(depth[known].min())) if known.any() else 0.0
    high = math.log(float(depth[known].max())) if known.any() else 0.0
    level = (np.log(np.where(known, depth, 1)) - low) / max(high - low, 1e-9) * LEVELS
    return _png(np.where(known, 1 + np.rint(level), 0).astype(np.uint16)), low, high


def decode_depth(data: bytes, low: float, high: float, what: str) -> NDArray[np.float32]:
    """Inverse of `encode_depth`; `what` names the value in the BrokenSampleError of bytes that are no such image."""
    level = _pixels(data, np.uint16, what)
    depth = np.exp(low + (level.astype(np.float32) - 1) * np.float32((high - low) / LEVELS))
    return np.where(level > 0, depth, 0).astype(np.float32)


def encode_record(
    record: Record, key: str, number: int, image: bytes | None, label: NDArray[np.float32] | None
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Files of view `number` by their endings, and its entry in the sample's JSON.

    image: the JPEG file that `record.image` came from, to be stored as it is. label: teacher depth (H, W), 0 unknown.
    """
    data, low, high = encode_depth(record.depth)
    masks = VALID * record.valid.astype(np.uint8)
    if record.sky is not None:
        masks |= SKY_KNOWN | SKY * record.sky.astype(np.uint8)
    if record.alpha is not None:
        masks |= OBJECT_KNOWN | OBJECT * record.alpha.astype(np.uint8)
    if image is None:
        bgr = cv2.cvtColor(record.image, cv2.COLOR_RGB2BGR)
        image = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    files = {f"{number:02d}.jpg": image, f"{number:02d}.depth.png": data, f"{number:02d}.masks.png": _png(masks)}
    entry: dict[str, Any] = {
        "key": key,
        "K": record.intrinsics.tolist(),
        "T_world_camera": record.pose.tolist(),
        "depth": [low, high],
        "source": record.source,
        "metric": record.metric,
    }
    if label is not None:
        files[f"{number:02d}.label.png"], *entry["label"] = encode_depth(label)
    return files, entry


@dataclass(frozen=True)
class ShardView:
    """A view whose files are in memory; stands for a `ViewRecord`."""

    files: dict[str, bytes]
    """Those of its sample, by ending."""
    number: int
    entry: dict[str, Any]
    shard: str
    labelled: bool = False
    """Whether `load` gives the teacher's label as depth."""

    @property
    def key(self) -> str:
        """Name of the view within the data set it was written from."""
        return str(self.entry["key"])

    @property
    def depth_path(self) -> Path:
        """Not a file: tells views apart where their depth is cached."""
        return Path(self.shard) / self.key

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """(3, 3) in pixels of the stored image."""
        return np.array(self.entry["K"], dtype=np.float64)

    @property
    def pose(self) -> NDArray[np.float64]:
        """T_world_camera (4, 4)."""
        return np.array(self.entry["T_world_camera"], dtype=np.float64)

    def depth(self) -> NDArray[np.float32]:
        """(H, W), 0 where unknown; raises `BrokenSampleError`."""
        low, high = self.entry["depth"]
        return decode_depth(self._file("depth.png"), low, high, self._name("depth.png"))

    def load(self) -> Record:
        """The whole view; raises `BrokenSampleError` that names shard and file."""
        bgr = cv2.imdecode(np.frombuffer(self._file("jpg"), np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            raise BrokenSampleError(f"{self._name('jpg')} is not a readable image: write the shard again")
        depth, masks = self.depth(), _pixels(self._file("masks.png"), np.uint8, self._name("masks.png"))
        if depth.shape != bgr.shape[:2] or masks.shape != depth.shape:
            raise BrokenSampleError(f"{self._name('jpg')}: image, depth and masks have different sizes")
        sky = (masks & SKY) > 0 if (masks & SKY_KNOWN).any() else None
        alpha = (masks & OBJECT) > 0 if (masks & OBJECT_KNOWN).any() else None
        valid = (masks & VALID) > 0
        if self.labelled:
            depth = self._label(depth.shape)
            valid = (depth > 0) & ~sky if sky is not None else depth > 0
            depth = np.where(valid, depth, 0)
        entry = self.entry
        return Record(
            cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), depth, valid, sky, alpha, self.intrinsics, self.pose,
            entry["source"], bool(entry["metric"]),
        )  # fmt: skip

    def _label(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The label; a view whose label was rejected teaches no depth."""
        if "label" not in self.entry:
            return np.zeros(shape, np.float32)
        low, high = self.entry["label"]
        return decode_depth(self._file("label.png"), low, high, self._name("label.png"))

    def _name(self, ending: str) -> str:
        return f"{self.shard}: {self.key} {self.number:02d}.{ending}"

    def _file(self, ending: str) -> bytes:
        data = self.files.get(f"{self.number:02d}.{ending}")
        if data is None:
            raise BrokenSampleError(f"{self._name(ending)} is missing: write the shard again")
        return data


def views_of_sample(sample: dict[str, Any], shard: str, labelled: bool) -> tuple[ShardView, ...]:
    """Views of one sample as webdataset gives it; raises `BrokenSampleError` for one without a readable description."""
    try:
        entries = json.loads(sample["json"])["views"]
        return tuple(ShardView(sample, i, entry, shard, labelled) for i, entry in enumerate(entries))
    except (KeyError, ValueError, TypeError) as error:
        raise BrokenSampleError(f"{shard}: {sample.get('__key__')} has no readable description: {error!r}") from error


def smaller(record: Record, longest: int) -> Record:
    """The record with its longest side at most `longest` (0: as it is); depth is never interpolated."""
    h, w = record.depth.shape
    factor = longest / max(h, w) if longest else 1.0
    if factor >= 1:
        return record
    size = (max(1, round(w * factor)), max(1, round(h * factor)))

    def picked(values: NDArray[Kind] | None) -> NDArray[Kind] | None:
        if values is None:
            return None
        kind = values.dtype
        return cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(kind)

    depth, valid = picked(record.depth), picked(record.valid)
    assert depth is not None
    assert valid is not None
    return record._replace(
        image=cv2.resize(record.image, size, interpolation=cv2.INTER_AREA),
        depth=depth,
        valid=valid,
        sky=picked(record.sky),
        alpha=picked(record.alpha),
        intrinsics=CameraModel.from_matrix(record.intrinsics, w, h).scaled(*size).K,
    )


def _png(values: NDArray[Any]) -> bytes:
    return cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()


def _pixels(data: bytes, kind: type[Kind], what: str) -> NDArray[Kind]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if pixels is None or pixels.dtype != kind or pixels.ndim != 2:
        raise BrokenSampleError(f"{what} is not a readable map: write the shard again")
    return pixels
