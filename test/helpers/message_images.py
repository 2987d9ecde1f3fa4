# SPDX-License-Identifier: Apache-2.0
"""Images and files in messages, made of pixels."""

import numpy as np

W, H = 12, 8


def make(types, pixels, encoding, *, pad=0, height=None, width=None, big=False):
    """Image message of rows of bytes; `pad` bytes of rubbish end every row."""
    rows = pixels.reshape(pixels.shape[0], -1)
    rows = rows.view(np.uint8)
    rows = np.concatenate([rows, np.full((rows.shape[0], pad), 77, np.uint8)], axis=1)
    kind = types["sensor_msgs/msg/Image"]
    return kind(
        header=types.header(5, "camera"),
        height=height or pixels.shape[0],
        width=width or pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big),
        step=rows.shape[1],
        data=types.octets(kind, rows),
    )


def compressed(types, data, text="jpeg"):
    kind = types["sensor_msgs/msg/CompressedImage"]
    return kind(header=types.header(5, "camera"), format=text, data=types.octets(kind, np.frombuffer(data, np.uint8)))


MOSAICS = {"rggb": (0, 1, 1, 2), "bggr": (2, 1, 1, 0), "gbrg": (1, 2, 0, 1), "grbg": (1, 0, 2, 1)}


def mosaic(rgb, pattern):
    """What a sensor with these filters sees."""
    found = np.empty(rgb.shape[:2], rgb.dtype)
    for place, channel in enumerate(MOSAICS[pattern]):
        found[place // 2 :: 2, place % 2 :: 2] = rgb[place // 2 :: 2, place % 2 :: 2, channel]
    return found
