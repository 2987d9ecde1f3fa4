# SPDX-License-Identifier: Apache-2.0
"""Primitive shapes and the builder that merges everything in a scene into one vertex buffer.

World frame: metres, z up, right handed. A vertex carries position, normal, texture coordinates, an sRGB tint, a
material code and a texture layer (-1: none).
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

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
            positions = positions @ transform[:3, :3].T + transform[:3, 3]
            normals = normals @ transform[:3, :3].T
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
        looks: Callable[[str], Look] | None = None,
    ) -> None:
        """Axis-aligned box from `lo` to `hi` in the frame of `transform`; `looks` may give each face its own look."""
        low, high = np.asarray(lo, np.float32), np.asarray(hi, np.float32)
        x, y, z = np.diag(high - low)
        quads = {
            "-x": (low + y, -y, z),
            "+x": (low + x, y, z),
            "-y": (low, x, z),
            "+y": (low + x + y, -x, z),
            "-z": (low + y, x, -y),
            "+z": (low + z, x, y),
        }
        for name, (corner, u, v) in quads.items():
            if name in faces:
                self.quad(corner, u, v, looks(name) if looks else look, fit, transform)

    def revolve(self, profile: Floats, look: Look, transform: Floats | None = None, segments: int = 20) -> None:
        """Body of revolution about z. profile (P, 2): radius, height, from bottom to top."""
        profile = np.asarray(profile, np.float32)
        angle = np.linspace(0, 2 * np.pi, segments + 1, dtype=np.float32)
        ring = np.stack([np.cos(angle), np.sin(angle)], 1)
        delta = np.diff(profile, axis=0)
        positions, normals, uvs, triangles = [], [], [], []
        run = 0.0
        for i, (dr, dz) in enumerate(delta):
            length = float(np.hypot(dr, dz))
            normal = np.array([dz, -dr], np.float32) / max(length, 1e-9)
            base = 2 * len(ring) * i
            for j, t in ((i, run), (i + 1, run + length)):
                positions.append(np.column_stack([ring * profile[j, 0], np.full(len(ring), profile[j, 1])]))
                normals.append(np.column_stack([ring * normal[0], np.full(len(ring), normal[1])]))
                uvs.append(
                    np.column_stack([angle * max(profile[:, 0].max(), 1e-3), np.full(len(ring), t)])
                    / look.metres_per_repeat
                )
            k = base + np.arange(segments)
            n = len(ring)
            triangles += [np.stack([k, k + 1, k + n + 1], 1), np.stack([k, k + n + 1, k + n], 1)]
            run += length
        self.add(
            np.concatenate(positions),
            np.concatenate(normals),
            np.concatenate(uvs),
            np.concatenate(triangles),
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
        return Mesh(np.concatenate(self._vertices), parts["opaque"], parts["cutout"], parts["sky"], list(self._layers))
