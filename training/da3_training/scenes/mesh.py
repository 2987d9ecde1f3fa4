# SPDX-License-Identifier: Apache-2.0
"""Primitive shapes and the builder that merges everything in a scene into one vertex buffer.

World frame: metres, z up, right handed. A vertex carries position, normal, texture coordinates, an sRGB tint, a
material code and a texture layer (-1: none).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from da3_training.scenes.arrays import Floats, Indices, Pixels

EMISSIVE = 255
SKY = 254
VERTEX = np.dtype([("position", "f4", 3), ("normal", "f4", 3), ("uv", "f4", 2), ("tint", "u1", 4), ("layer", "f4")])

# Of a quad.
_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
_UPRIGHT = _CORNERS * np.array([1, -1], np.float32) + np.array([0, 1], np.float32)
_TWO_TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]])
# Of the faces of a box: which sides of it their edges are, and in which direction.
_FACES = ("-x", "+x", "-y", "+y", "-z", "+z")
_EDGE_U, _SIGN_U = np.array([1, 1, 0, 0, 0, 0]), np.array([[-1], [1], [1], [-1], [1], [1]], np.float32)
_EDGE_V, _SIGN_V = np.array([2, 2, 2, 2, 1, 1]), np.array([[1], [1], [1], [1], [-1], [1]], np.float32)
_BOX_TRIANGLES = np.concatenate([_TWO_TRIANGLES + 4 * face for face in range(6)])


@dataclass(frozen=True)
class Look:
    """Surface look: sRGB tint 0..1, texture key or None, code (specular strength 0..200, EMISSIVE or SKY)."""

    tint: tuple[float, ...] = (1.0, 1.0, 1.0)
    texture: str | None = None
    code: int = 0
    metres_per_repeat: float = 1.0
    cutout: bool = False


def pose2d(x: float, y: float, z: float, yaw: float) -> Floats:
    """4x4 transform: rotation by `yaw` [rad] about z, then translation [m]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1]], np.float32)


@dataclass
class Mesh:
    """Merged scene: `vertices` (V,) of dtype VERTEX, triangles (T, 3) u32, texture keys in the order of the layers."""

    vertices: NDArray[np.void]
    opaque: NDArray[np.uint32]
    cutout: NDArray[np.uint32]
    sky: NDArray[np.uint32]
    textures: list[str]


@dataclass
class Builder:
    """Collects geometry. `max_layers` bounds texture memory; more textures reuse a procedural one already there."""

    max_layers: int = 56
    _vertices: list[NDArray[np.void]] = field(default_factory=list)
    _triangles: dict[str, list[NDArray[np.uint32]]] = field(
        default_factory=lambda: {"opaque": [], "cutout": [], "sky": []}
    )
    _layers: dict[str, int] = field(default_factory=dict)
    _count: int = 0
    _triangle_count: int = 0

    @property
    def triangle_count(self) -> int:
        return self._triangle_count

    def layer(self, texture: str | None) -> int:
        if texture is None:
            return -1
        if texture not in self._layers:
            if len(self._layers) >= self.max_layers:
                own = [i for name, i in self._layers.items() if name.startswith("procedural__")]
                return own[len(texture) * 7 % len(own)] if own else -1
            self._layers[texture] = len(self._layers)
        return self._layers[texture]

    def has_room_for(self, textures: AbstractSet[str | None]) -> bool:
        return len(self._layers) + len(textures - self._layers.keys()) <= self.max_layers

    def add(
        self,
        positions: Floats,
        normals: Floats,
        uvs: Floats,
        triangles: Indices,
        look: Look,
        transform: Floats | None = None,
    ) -> None:
        """Add one mesh of a single look. positions, normals (V, 3), uvs (V, 2), triangles (T, 3)."""
        layer = np.full(len(positions), self.layer(look.texture), np.float32)
        tint = np.empty((len(positions), 4), np.uint8)
        tint[:, :3] = np.round(np.clip(look.tint, 0, 1) * np.float32(255))
        tint[:, 3] = look.code
        kind = "sky" if look.code == SKY else "cutout" if look.cutout else "opaque"
        self.add_vertices(positions, normals, uvs, tint, layer, {kind: triangles}, transform)

    def add_vertices(
        self,
        positions: Floats,
        normals: Floats,
        uvs: Floats,
        tint: Pixels,
        layer: Floats,
        triangles: dict[str, Indices],
        transform: Floats | None = None,
    ) -> None:
        """Add vertices with their own tint (V, 4) u8 and layer (V,); triangles by kind (opaque, cutout, sky)."""
        if transform is not None:
            positions, normals = _moved(positions, normals, transform)
        block = np.empty(len(positions), VERTEX)
        block["position"], block["normal"], block["uv"], block["tint"], block["layer"] = (
            positions,
            normals,
            uvs,
            tint,
            layer,
        )
        self._vertices.append(block)
        for kind, t in triangles.items():
            if len(t):
                self._triangles[kind].append((t + self._count).astype(np.uint32))
                self._triangle_count += len(t)
        self._count += len(block)

    # -- primitives; uvs in metres / metres_per_repeat unless said otherwise

    def quad(
        self,
        corner: ArrayLike,
        edge_u: ArrayLike,
        edge_v: ArrayLike,
        look: Look,
        fit: bool = False,
        transform: Floats | None = None,
        uv_origin: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Parallelogram `corner + a edge_u + b edge_v`, a, b in 0..1; normal = edge_u x edge_v.

        `fit` stretches the texture once over it.
        """
        at, u, v = (np.asarray(a, np.float32) for a in (corner, edge_u, edge_v))
        ab = _CORNERS
        positions = at + ab[:, :1] * u + ab[:, 1:] * v
        normal = u[[1, 2, 0]] * v[[2, 0, 1]] - u[[2, 0, 1]] * v[[1, 2, 0]]  # np.cross takes five times as long
        normal = normal / max(float(np.linalg.norm(normal)), 1e-9)
        size = np.array([np.linalg.norm(u), np.linalg.norm(v)], np.float32)
        uvs = _UPRIGHT if fit else (ab * size + np.array(uv_origin, np.float32)) / look.metres_per_repeat
        self.add(positions, np.repeat(normal[None], 4, 0), uvs, _TWO_TRIANGLES, look, transform)

    def box(
        self,
        lo: ArrayLike,
        hi: ArrayLike,
        look: Look,
        transform: Floats | None = None,
        faces: str = "-x+x-y+y-z+z",
        fit: bool = False,
    ) -> None:
        """Axis-aligned box from `lo` to `hi` in the frame of `transform`; `faces` of it alone."""
        low, high = np.asarray(lo, np.float32), np.asarray(hi, np.float32)
        sides = np.diag(high - low)
        x, y, z = sides
        corner = np.array([low + y, low + x, low, low + x + y, low + y, low + z])
        u, v = sides[_EDGE_U] * _SIGN_U, sides[_EDGE_V] * _SIGN_V
        count = len(_FACES)
        if any(name not in faces for name in _FACES):
            kept = [i for i, name in enumerate(_FACES) if name in faces]
            corner, u, v, count = corner[kept], u[kept], v[kept], len(kept)
        # All faces at once, by the arithmetic of `quad`: most of a scene's quads are those of boxes.
        positions = corner[:, None] + _CORNERS[:, :1] * u[:, None] + _CORNERS[:, 1:] * v[:, None]
        normal = u[:, [1, 2, 0]] * v[:, [2, 0, 1]] - u[:, [2, 0, 1]] * v[:, [1, 2, 0]]
        normal /= np.maximum(_length(normal), np.float32(1e-9))
        normals = np.repeat(normal[:, None], 4, 1)
        if transform is not None:
            positions, normals = _moved(positions, normals, transform)
        size = np.concatenate([_length(u), _length(v)], 1)
        uvs = np.tile(_UPRIGHT, (count, 1)) if fit else (_CORNERS * size[:, None]) / look.metres_per_repeat
        self.add(
            positions.reshape(-1, 3),
            normals.reshape(-1, 3),
            uvs.reshape(-1, 2),
            _BOX_TRIANGLES[: 2 * count],
            look,
        )

    def revolve(self, profile: Floats, look: Look, transform: Floats | None = None, segments: int = 20) -> None:
        """Body of revolution about z. profile (P, 2): radius, height, from bottom to top."""
        profile = np.asarray(profile, np.float32)
        angle, ring, triangles = _ring(segments)
        delta = np.diff(profile, axis=0)
        length = np.hypot(delta[:, 0], delta[:, 1])
        normal = np.stack([delta[:, 1], -delta[:, 0]], 1) / np.maximum(length, np.float32(1e-9))[:, None]
        run = np.concatenate([[0.0], np.cumsum(length, dtype=np.float64)])
        # Of each piece of the profile, the ring at its lower and the one at its upper end.
        shape = (len(delta), 2, len(ring))
        ends = np.stack([profile[:-1], profile[1:]], 1)[:, :, None]
        positions, normals = np.empty((*shape, 3), np.float32), np.empty((*shape, 3), np.float32)
        positions[..., :2], positions[..., 2] = ring * ends[..., :1], ends[..., 1]
        normals[..., :2], normals[..., 2] = ring * normal[:, None, None, :1], normal[:, None, None, 1]
        uvs = np.empty((*shape, 2), np.float64)
        uvs[..., 0] = angle * max(profile[:, 0].max(), 1e-3)
        uvs[..., 1] = np.stack([run[:-1], run[1:]], 1)[..., None]
        whole = triangles + 2 * len(ring) * np.arange(len(delta))[:, None, None]
        self.add(
            positions.reshape(-1, 3),
            normals.reshape(-1, 3),
            uvs.reshape(-1, 2) / look.metres_per_repeat,
            whole.reshape(-1, 3),
            look,
            transform,
        )

    def cylinder(
        self,
        radius: float,
        height: float,
        look: Look,
        transform: Floats | None = None,
        segments: int = 20,
        top: float = 1.0,
    ) -> None:
        """Closed cylinder (or cone frustum: `top` scales the upper radius) standing on z = 0."""
        self.revolve(np.array([[0, 0], [radius, 0], [radius * top, height], [0, height]]), look, transform, segments)

    def sphere(self, radius: float, look: Look, transform: Floats | None = None, segments: int = 18) -> None:
        """Sphere standing on z = 0."""
        a = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
        self.revolve(np.stack([radius * np.cos(a), radius + radius * np.sin(a)], 1), look, transform, segments)

    def sky(self, look: Look, radius: float = 120.0) -> None:
        """Inward cube far away; renders with depth 0 (invalid)."""
        r = np.float32(radius)
        self.box([-r, -r, -r / 2], [r, r, r], look, fit=True)

    def build(self) -> Mesh:
        parts = {k: np.concatenate(t) if t else np.zeros((0, 3), np.uint32) for k, t in self._triangles.items()}
        # As bytes: NumPy would compare the fields of every part with those of the others.
        vertices = np.concatenate([block.view(np.uint8) for block in self._vertices]).view(VERTEX)
        return Mesh(vertices, parts["opaque"], parts["cutout"], parts["sky"], list(self._layers))


def _moved(positions: Floats, normals: Floats, transform: Floats) -> tuple[Floats, Floats]:
    """Positions and normals (..., V, 3) in the frame that `transform` leads to."""
    turn = transform[:3, :3].T
    return positions @ turn + transform[:3, 3], normals @ turn


def _length(edges: Floats) -> Floats:
    """Lengths (F, 1) of edges (F, 3) along an axis."""
    return np.sqrt((edges * edges).sum(1, keepdims=True))


@lru_cache(maxsize=32)
def _ring(segments: int) -> tuple[Floats, Floats, Indices]:
    """Angles (R,) of a full turn, their points (R, 2) on the unit circle, and the triangles between two such rings."""
    angle = np.linspace(0, 2 * np.pi, segments + 1, dtype=np.float32)
    k, count = np.arange(segments), segments + 1
    lower, upper = np.stack([k, k + 1, k + count + 1], 1), np.stack([k, k + count + 1, k + count], 1)
    return angle, np.stack([np.cos(angle), np.sin(angle)], 1), np.concatenate([lower, upper])
