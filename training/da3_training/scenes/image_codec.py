# SPDX-License-Identifier: Apache-2.0
"""Images of surfaces in few bytes: a JPEG at the smallest side that still shows them, and a mask kept apart."""

from __future__ import annotations

import cv2
import numpy as np

from da3_training.scenes.arrays import Pixels
from da3_training.scenes.texels import TEXTURE_SIZE

QUALITY = 85
"""Of the JPEGs."""
BLUR = 2.5
"""The root mean square difference, of 255, that a smaller side may bring."""
SIDES = (64, 128, 256)
"""Smaller sides that are tried. Many images were smaller before they became TEXTURE_SIZE squared."""


def encode_image(rgba: Pixels) -> tuple[bytes, bytes | None]:
    """An image (TEXTURE_SIZE, TEXTURE_SIZE, 4) as JPEG, and its opacity as PNG, or None where it is opaque."""
    rgb = np.ascontiguousarray(rgba[..., :3])
    small = rgb
    for side in SIDES:
        smaller = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
        if np.sqrt(np.mean((_enlarged(smaller).astype(np.float32) - rgb) ** 2)) <= BLUR:
            small = smaller
            break
    jpeg = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    opacity = rgba[..., 3]
    return jpeg, None if opacity.min() == 255 else cv2.imencode(".png", opacity)[1].tobytes()


def decode_image(jpeg: bytes, mask: bytes | None) -> Pixels:
    """RGBA uint8 (TEXTURE_SIZE, TEXTURE_SIZE, 4) of `encode_image`; raises ValueError for what is no image."""
    rgb = cv2.cvtColor(_decoded(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    rgba = np.full((TEXTURE_SIZE, TEXTURE_SIZE, 4), 255, np.uint8)
    rgba[..., :3] = _enlarged(rgb)
    if mask is not None:
        rgba[..., 3] = _decoded(mask, cv2.IMREAD_GRAYSCALE)
    return rgba


def _enlarged(rgb: Pixels) -> Pixels:
    if len(rgb) == TEXTURE_SIZE:
        return rgb
    return cv2.resize(rgb, (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_LINEAR)


def _decoded(data: bytes, mode: int) -> Pixels:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    if image is None:
        raise ValueError(f"{len(data)} bytes are no image")
    return image
