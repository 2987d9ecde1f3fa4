# SPDX-License-Identifier: Apache-2.0
"""Point clouds: arrays <-> PointCloud2 with the fields x y z rgb confidence, all float32."""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.messages.errors import MessageError, guarded
from da3_ros.messages.kinds import CLOUD
from da3_ros.messages.types import MessageTypes

FIELDS = ("x", "y", "z", "rgb", "confidence")
POINT_STEP = 4 * len(FIELDS)
_FLOAT32 = 7  # PointField.FLOAT32
_KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_LITTLE = sys.byteorder == "little"


class CloudEncoder:
    """Arrays -> PointCloud2; keeps its work area between calls: use one for each cloud that is published."""

    def __init__(self, types: MessageTypes, *, reuse: bool = False) -> None:
        """reuse: give the same message out again while the number of points stays; for publishers that are done with a
        message when `publish` returns, as rclpy's are.
        """
        self._types, self._reuse = types, reuse
        self._points = np.zeros((1, 0, len(FIELDS)), np.float32)
        self._message: Any = None

    def __call__(
        self,
        points: NDArray[np.float32],
        image: NDArray[np.uint8],
        confidence: NDArray[np.float32],
        header: Any,
        *,
        is_dense: bool = False,
    ) -> Any:
        """Cloud with the layout of `points`: (H, W, 3) gives an organised one, (N, 3) a single row.

        points: metres; in an organised cloud NaN where there is none. image: RGB (..., 3) uint8.
        confidence: (...). is_dense: every point is finite. Raises ValueError where the shapes differ.
        """
        shape = points.shape[:-1]
        if points.shape[-1] != 3 or image.shape != (*shape, 3) or confidence.shape != shape or len(shape) > 2:
            raise ValueError(
                f"points {points.shape}, image {image.shape}, confidence {confidence.shape}: "
                "expected (..., 3), (..., 3), (...) of one or two axes"
            )
        height, width = shape if len(shape) == 2 else (1, shape[0])
        message = self._message if self._reuse else None
        arrays = points.reshape(-1, 3), image.reshape(-1, 3), confidence.reshape(-1)
        count = len(arrays[0])
        if message is not None and len(message.data) == POINT_STEP * count > 0:
            octets = np.frombuffer(message.data, np.uint8)
            _pack(*arrays, octets.view(np.float32).reshape(1, count, len(FIELDS)))
        else:
            if self._points.shape[1] < count:
                self._points = np.zeros((1, count, len(FIELDS)), np.float32)
            packed = self._points[:, :count]
            _pack(*arrays, packed)
            message = self._message = self._new(packed)
        message.header = header
        message.height, message.width, message.row_step = height, width, POINT_STEP * width
        message.is_dense = is_dense
        return message

    def _new(self, packed: NDArray[np.float32]) -> Any:
        kind, field = self._types[CLOUD], self._types["sensor_msgs/msg/PointField"]
        return kind(
            header=self._types.header(0, ""),
            height=0,
            width=0,
            fields=[field(name=name, offset=4 * i, datatype=_FLOAT32, count=1) for i, name in enumerate(FIELDS)],
            is_bigendian=not _LITTLE,
            point_step=POINT_STEP,
            row_step=0,
            data=self._types.octets(kind, packed),
            is_dense=False,
        )


def encode_points(types: MessageTypes, points: NDArray[np.float32], header: Any) -> Any:
    """PointCloud2 of points (N, 3) in metres, and nothing but x y z."""
    kind, field = types[CLOUD], types["sensor_msgs/msg/PointField"]
    values = np.ascontiguousarray(points, "<f4")
    fields = [field(name=name, offset=4 * i, datatype=_FLOAT32, count=1) for i, name in enumerate("xyz")]
    return kind(
        header=header,
        height=1,
        width=len(values),
        fields=fields,
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(values),
        data=types.octets(kind, values),
        is_dense=bool(np.isfinite(values).all()),
    )


def _pack(points: NDArray, image: NDArray, confidence: NDArray, packed: NDArray[np.float32]) -> None:
    """Fields of every point into `packed` (1, N, 5). OpenCV interleaves planes in one pass; NumPy would go once over
    the whole cloud for each field, with steps of a point.
    """
    if len(points) == 0:
        return
    coordinates = np.asarray(points, np.float32)[None]
    if coordinates[..., 0].flags.c_contiguous:
        planes = [coordinates[..., i] for i in range(3)]
    else:
        planes = list(cv2.split(coordinates))
    cv2.merge([*planes, _packed_colours(image), np.ascontiguousarray(confidence, np.float32)[None]], dst=packed)


def _packed_colours(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """RGB (N, 3) as float32 (1, N), whose bits are the integer 0x00RRGGBB."""
    code = cv2.COLOR_RGB2BGRA if _LITTLE else cv2.COLOR_RGB2RGBA
    octets = cv2.cvtColor(np.ascontiguousarray(image)[None], code)
    if not _LITTLE:  # alpha first
        octets = np.ascontiguousarray(np.roll(octets, 1, axis=-1))
    values = octets.view(np.uint32)[..., 0]
    values &= np.uint32(0xFFFFFF)
    return values.view(np.float32)


@guarded("a point cloud")
def decode_cloud(message: Any) -> dict[str, NDArray]:
    """Every scalar field of a PointCloud2 by name, each (H, W), as views of the message's data; of several fields of
    one name the first, and none that reaches beyond its point.

    `rgb` comes as (H, W, 3) uint8. Raises MessageError where the data are too short for the layout.
    """
    height, width, step = int(message.height), int(message.width), int(message.point_step)
    fields = _fields(message, step)
    if height * width == 0:  # a filter that left nothing, a scan without an echo: no points, but no fault
        found = {name: np.zeros((height, width), kind) for name, (kind, _) in fields.items()}
        return {**found, **({"rgb": np.zeros((height, width, 3), np.uint8)} if "rgb" in fields else {})}
    row_step = int(message.row_step) or step * width  # some publishers leave it out where there is one row
    data = np.frombuffer(message.data, np.uint8)
    if step <= 0 or data.size < row_step * height or row_step < step * width:
        raise MessageError(
            f"cloud of {width} x {height} points, {step} bytes each, {row_step} a row, holds {data.size} bytes",
            remedy="the message is truncated, or its layout is wrong: check its publisher",
        )
    kind = np.dtype(
        {
            "names": list(fields),
            "formats": [form for form, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": step,
        }
    )
    rows = data[: row_step * height].reshape(height, -1)[:, : step * width]
    points = np.ascontiguousarray(rows).view(kind)
    found = {name: points[name] for name in fields}
    if "rgb" in found:
        packed = found["rgb"].astype(np.uint32)
        found["rgb"] = np.stack([(packed >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)], axis=-1)
    return found


def _fields(message: Any, step: int) -> dict[str, tuple[str, int]]:
    """Format and offset of the fields that can be read. Old drivers give a count of 0 where there is one value."""
    order = ">" if message.is_bigendian else "<"
    found: dict[str, tuple[str, int]] = {}
    for field in message.fields:
        if field.datatype not in _KINDS or field.count > 1 or not field.name:
            continue
        form = order + ("u4" if field.name == "rgb" else _KINDS[field.datatype])
        fits = not step or field.offset + np.dtype(form).itemsize <= step
        if fits and field.name not in found:
            found[field.name] = form, int(field.offset)
    return found
