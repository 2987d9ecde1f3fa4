# SPDX-License-Identifier: Apache-2.0
"""Meshes in few bytes: 16 bits a coordinate, 8 bits a direction, 16 bits a texture coordinate, deflated.

Positions are whole steps of the mesh's own box, normals points of an octahedron, texture coordinates whole steps of the
box of their material. Vertices that become equal are one. Every triangle is kept, and so are vertices of none: they
count for a piece's size. A piece that carries things keeps its heights to the last bit, since the height at which
a thing rests decides, rounded, how a scene goes on.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from da3_training.scenes.arrays import Floats
from da3_training.scenes.furniture import Geometry

STEPS = 65535
FARTHEST_UV = 512.0
"""In repeats of the image. Beyond, coordinates are broken (single precision has no fraction left at 3e9): only what is
past the whole number is kept."""
_HEAD = struct.Struct("<IIIBB6f")


def encode_mesh(mesh: Geometry, textured: Collection[int], exact_heights: bool) -> bytes:
    """Bytes of a mesh. textured: the materials whose texture coordinates matter; others come back as 0.

    Raises ValueError for more than 65536 different vertices or 255 materials.
    """
    low, high = mesh.positions.min(0), mesh.positions.max(0)
    grid = _to_grid(mesh.positions, low, high)
    heights = np.zeros(0, np.float32)
    if exact_heights:
        heights, grid[:, 2] = np.unique(mesh.positions[:, 2].astype(np.float32), return_inverse=True)
    uvs, boxes = np.zeros((len(grid), 2), np.int64), []
    for material in sorted(textured):
        mask = mesh.material == material
        values = _tame(mesh.uvs[mask])
        box = np.stack([values.min(0), values.max(0)]) if len(values) else np.zeros((2, 2), np.float32)
        uvs[mask] = _to_grid(values, *box)
        boxes.append(np.r_[np.float32(material), box.ravel()].astype("<f4"))
    normals = _to_octahedron(mesh.normals)
    rows = np.column_stack([grid, normals & 0xFF, uvs, mesh.material])
    unique, number = np.unique(rows, axis=0, return_inverse=True)
    triangles = number.ravel()[mesh.triangles]
    if len(unique) > STEPS + 1 or mesh.material.max(initial=0) > 254 or mesh.material.min(initial=0) < 0:
        raise ValueError(f"{len(unique)} vertices of {mesh.material.max() + 1} materials: at most 65536 of 255")
    order = _by_first_use(triangles, len(unique))
    rows = unique[order]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    wanted = np.isin(rows[:, 7], sorted(textured))
    head = _HEAD.pack(len(rows), len(triangles), len(heights), len(boxes), bool(exact_heights), *low, *high)
    parts = [
        heights.astype("<f4").view(np.uint8).reshape(-1, 4).T,
        *(box.view(np.uint8) for box in boxes),
        *(_planes(rows[:, axis]) for axis in range(3)),
        *(rows[:, axis].astype(np.uint8) for axis in (3, 4, 7)),
        *(_planes(rows[wanted, axis]) for axis in (5, 6)),
        _planes(place[triangles].ravel()),
    ]
    return head + zlib.compress(b"".join(np.ascontiguousarray(part).tobytes() for part in parts), 9)


def decode_mesh(data: bytes) -> Geometry:
    """The mesh of `encode_mesh`. Raises ValueError or zlib.error for other bytes."""
    vertices, triangles, levels, boxes, exact, *bounds = _HEAD.unpack_from(data)
    body = np.frombuffer(zlib.decompress(memoryview(data)[_HEAD.size :]), np.uint8)
    at = 0

    def take(count: int) -> NDArray[np.uint8]:
        nonlocal at
        if at + count > len(body):
            raise ValueError(f"a mesh of {len(body)} bytes ends too early")
        at += count
        return body[at - count : at]

    heights = np.ascontiguousarray(take(4 * levels).reshape(4, levels).T).view("<f4").reshape(-1)
    uv_boxes = [np.frombuffer(take(20).tobytes(), "<f4") for _ in range(boxes)]
    grid = np.stack([_whole(take(2 * vertices)) for _ in range(3)], 1)
    octahedron = np.stack([take(vertices).view(np.int8) for _ in range(2)], 1)
    material = take(vertices).astype(np.int16)
    wanted = np.isin(material, [int(box[0]) for box in uv_boxes])
    steps = np.zeros((vertices, 2), np.uint16)
    count = int(wanted.sum())
    steps[wanted] = np.stack([_whole(take(2 * count)) for _ in range(2)], 1)
    index = _whole(take(6 * triangles)).reshape(-1, 3).astype(np.int32)
    if at != len(body):
        raise ValueError(f"a mesh of {len(body)} bytes has {len(body) - at} too many")
    positions = _from_grid(grid, np.array(bounds[:3]), np.array(bounds[3:]))
    if exact:
        positions[:, 2] = heights[grid[:, 2]]
    uvs = np.zeros((vertices, 2), np.float32)
    for box in uv_boxes:
        mask = material == int(box[0])
        uvs[mask] = _from_grid(steps[mask], box[1:3], box[3:5])
    return Geometry(positions, _from_octahedron(octahedron), uvs, material, index)


def _to_grid(values: Floats, low: Floats, high: Floats) -> NDArray[np.int64]:
    span = np.maximum(high.astype(np.float64) - low, 1e-12)
    return np.rint((values - low.astype(np.float64)) / span * STEPS).astype(np.int64)


def _from_grid(steps: NDArray[np.uint16], low: Floats, high: Floats) -> NDArray[np.float32]:
    span = np.asarray(high, np.float64) - low
    return (steps * (span / STEPS) + low).astype(np.float32)


def _tame(uvs: Floats) -> Floats:
    """Texture coordinates (V, 2) without broken ones."""
    wide = np.nan_to_num(uvs.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return np.where(np.abs(wide) > FARTHEST_UV, wide % 1.0, wide)


def _to_octahedron(normals: Floats) -> NDArray[np.int64]:
    """Directions (V, 3) -> (V, 2) whole numbers of -127..127; the zero vector becomes +z."""
    n = normals.astype(np.float64)
    n = n / np.maximum(np.abs(n).sum(1, keepdims=True), 1e-12)
    folded = (1 - np.abs(n[:, 1::-1])) * np.where(n[:, :2] >= 0, 1, -1)
    return np.rint(np.where(n[:, 2:] < 0, folded, n[:, :2]) * 127).astype(np.int64)


def _from_octahedron(values: NDArray[np.int8]) -> NDArray[np.float32]:
    e = values.astype(np.float32) / np.float32(127)
    z = 1 - np.abs(e).sum(1)
    folded = (1 - np.abs(e[:, ::-1])) * np.where(e >= 0, np.float32(1), np.float32(-1))
    n = np.column_stack([np.where(z[:, None] < 0, folded, e), z])
    return (n / np.linalg.norm(n, axis=1, keepdims=True)).astype(np.float32)


def _by_first_use(triangles: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Numbers of vertices in the order in which triangles name them, then those of none."""
    used, first = np.unique(triangles.ravel(), return_index=True)
    rest = np.setdiff1d(np.arange(count), used)
    return np.concatenate([used[np.argsort(first)], rest])


def _planes(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """16-bit numbers as differences to the one before, low bytes first, then high ones: what deflate likes."""
    step = np.diff(values.astype(np.uint16), prepend=np.uint16(0))
    return step.astype("<u2").view(np.uint8).reshape(-1, 2).T


def _whole(planes: NDArray[np.uint8]) -> NDArray[np.uint16]:
    half = len(planes) // 2
    return np.cumsum(planes[:half] | planes[half:].astype(np.uint16) << 8, dtype=np.uint16)
