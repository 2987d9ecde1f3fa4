# SPDX-License-Identifier: Apache-2.0
"""Point clouds: arrays <-> PointCloud2 with the fields x y z rgb confidence, all float32."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.messages.errors import MessageError
from da3_ros.messages.types import MessageTypes

CLOUD = "sensor_msgs/msg/PointCloud2"
FIELDS = ("x", "y", "z", "rgb", "confidence")
POINT_STEP = 4 * len(FIELDS)
_FLOAT32 = 7  # PointField.FLOAT32
_KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_LITTLE = sys.byteorder == "little"


class CloudEncoder:
    """Arrays -> PointCloud2; keeps its work area between calls: use one for each cloud that is published."""

    def __init__(self, types: MessageTypes) -> None:
        self._types = types
        self._points = np.zeros((0, len(FIELDS)), np.float32)

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
        packed = self._pack(points.reshape(-1, 3), image.reshape(-1, 3), confidence.reshape(-1))
        kind = self._types[CLOUD]
        return kind(
            header=header,
            height=height,
            width=width,
            fields=[
                self._types["sensor_msgs/msg/PointField"](name=name, offset=4 * i, datatype=_FLOAT32, count=1)
                for i, name in enumerate(FIELDS)
            ],
            is_bigendian=not _LITTLE,
            point_step=POINT_STEP,
            row_step=POINT_STEP * width,
            data=self._types.octets(kind, packed),
            is_dense=is_dense,
        )

    def _pack(self, points: NDArray, image: NDArray, confidence: NDArray) -> NDArray[np.float32]:
        count = len(points)
        if len(self._points) < count:
            self._points = np.zeros((count, len(FIELDS)), np.float32)
        packed = self._points[:count]
        packed[:, :3] = points
        packed[:, 4] = confidence
        # The colour is the integer 0x00RRGGBB, stored in the bytes of a float32.
        octets = packed.view(np.uint8)[:, 12:16]
        if _LITTLE:
            octets[:, 0], octets[:, 1], octets[:, 2] = image[:, 2], image[:, 1], image[:, 0]
        else:
            octets[:, 1:] = image
        return packed


def decode_cloud(message: Any) -> dict[str, NDArray]:
    """Every scalar field of a PointCloud2 by name, each (H, W), as views of the message's data.

    `rgb` comes as (H, W, 3) uint8. Raises MessageError where the data are too short for the layout.
    """
    order = ">" if message.is_bigendian else "<"
    height, width = int(message.height), int(message.width)
    names, formats, offsets = [], [], []
    for field in message.fields:
        if field.datatype in _KINDS and field.count == 1:
            names.append(field.name)
            formats.append(order + ("u4" if field.name == "rgb" else _KINDS[field.datatype]))
            offsets.append(field.offset)
    kind = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": message.point_step})
    data = np.frombuffer(message.data, np.uint8)
    if data.size < message.row_step * height or message.row_step < message.point_step * width:
        raise MessageError(
            f"cloud of {width} x {height} points, {message.point_step} bytes each, {message.row_step} a row, "
            f"holds {data.size} bytes",
            remedy="the message is truncated: check its publisher",
        )
    rows = data[: message.row_step * height].reshape(height, -1)[:, : message.point_step * width]
    points = np.ascontiguousarray(rows).view(kind)
    found = {name: points[name] for name in names}
    if "rgb" in found:
        packed = found["rgb"].astype(np.uint32)
        found["rgb"] = np.stack([(packed >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)], axis=-1)
    return found
