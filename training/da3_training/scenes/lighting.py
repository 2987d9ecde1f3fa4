# SPDX-License-Identifier: Apache-2.0
"""Lights of a scene and the cameras that their shadows are seen from; nothing here needs OpenGL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from da3_training.scenes.arrays import Floats

NEAR, FAR = 0.03, 400.0
MAX_LIGHTS = 4
SHADOW_SIZE = 1024


@dataclass(frozen=True)
class Lighting:
    """Lights of a scene. Positions in metres; colours are linear RGB in a free unit: exposure follows the image."""

    positions: Floats  # (L, 3); the first casts shadows downwards
    colours: Floats  # (L, 3)
    sun_direction: Floats = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]))  # towards the sun, unit
    sun_colour: Floats = field(default_factory=lambda: np.zeros(3))
    ambient_up: Floats = field(default_factory=lambda: np.full(3, 0.2))
    ambient_down: Floats = field(default_factory=lambda: np.full(3, 0.12))
    corner_strength: float = 0.5
    gloss: float = 0.5


def projection(K: Floats, width: int, height: int) -> Floats:
    """Clip-from-camera 4x4 of an OpenCV camera; the rows read from the framebuffer come top first."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    return np.array(
        [
            [2 * fx / width, 0, 2 * (cx + 0.5) / width - 1, 0],
            [0, 2 * fy / height, 2 * (cy + 0.5) / height - 1, 0],
            [0, 0, (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)],
            [0, 0, 1, 0],
        ]
    )


def look_rotation(forward: Floats, roll: float = 0.0) -> Floats:
    """World-from-camera rotation (3, 3), OpenCV axes, looking along `forward`, world z up, rolled by `roll` [rad]."""
    z = np.asarray(forward, np.float64) / np.linalg.norm(forward)
    up = np.array([0.0, 0.0, 1.0]) if abs(z[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
    x = np.cross(z, up)
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    c, s = np.cos(roll), np.sin(roll)
    return np.stack([c * x + s * y, -s * x + c * y, z], 1)


def uniforms(lighting: Lighting, lo: Floats, hi: Floats) -> dict[str, Any]:
    """What the shaders are told of the lights in a room from `lo` to `hi`."""
    count = min(len(lighting.positions), MAX_LIGHTS)
    padded = np.zeros((2, MAX_LIGHTS, 3), np.float32)
    padded[0, :count], padded[1, :count] = lighting.positions[:count], lighting.colours[:count]
    return {
        "light_count": count,
        "light_position": padded[0],
        "light_colour": padded[1],
        "lamp_from_world": lamp_matrix(lighting.positions[0]).T,
        "sun_from_world": sun_matrix(lighting.sun_direction, lo, hi).T,
        "sun_direction": lighting.sun_direction,
        "sun_colour": lighting.sun_colour,
        "ambient_up": lighting.ambient_up,
        "ambient_down": lighting.ambient_down,
        "room_lo": lo,
        "room_hi": hi,
        "corner_strength": lighting.corner_strength,
        "gloss": lighting.gloss,
    }


def lamp_matrix(position: Floats) -> Floats:
    """Clip-from-world of a very wide camera at the lamp, looking down."""
    f = SHADOW_SIZE / 2 / np.tan(np.radians(77))
    pose = np.eye(4)
    pose[:3, :3] = look_rotation(np.array([0.0, 0.0, -1.0]))
    pose[:3, 3] = position
    K = np.array([[f, 0, SHADOW_SIZE / 2 - 0.5], [0, f, SHADOW_SIZE / 2 - 0.5], [0, 0, 1]])
    near, far = 0.08, 25.0
    matrix = projection(K, SHADOW_SIZE, SHADOW_SIZE)
    matrix[2, 2], matrix[2, 3] = (far + near) / (far - near), -2 * far * near / (far - near)
    return matrix @ np.linalg.inv(pose)


def sun_matrix(direction: Floats, lo: Floats, hi: Floats) -> Floats:
    """Orthographic clip-from-world along the sun that holds the room."""
    pose = np.eye(4)
    pose[:3, :3] = look_rotation(-np.asarray(direction, np.float64))
    corners = (
        np.array([[x, y, z] for x in (lo[0], hi[0]) for y in (lo[1], hi[1]) for z in (lo[2], hi[2])]) @ pose[:3, :3]
    )
    a, b = corners.min(0) - 0.3, corners.max(0) + 0.3
    a[2] -= 10
    scale = 2 / (b - a)
    ortho = np.eye(4)
    ortho[[0, 1, 2], [0, 1, 2]] = scale
    ortho[:3, 3] = -(a + b) / 2 * scale
    return ortho @ np.linalg.inv(pose)
