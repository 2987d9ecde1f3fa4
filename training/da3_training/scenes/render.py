# SPDX-License-Identifier: Apache-2.0
"""OpenGL renderer without a window: linear colour (2x supersampled) and exact depth of a merged scene.

Cameras are OpenCV cameras (x right, y down, z forward), pixel centres at integer coordinates. The supersampled image
holds sample (2u, 2v) exactly at the centre of pixel (u, v): the colour of a pixel is a symmetric 3x3 tent around it,
its depth that one sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import moderngl
import numpy as np

from da3_training.scenes.arrays import Floats, Pixels
from da3_training.scenes.mesh import Mesh
from da3_training.scenes.shaders import FRAGMENT, SHADOW_FRAGMENT, SHADOW_VERTEX, VERTEX
from da3_training.scenes.texels import TEXTURE_SIZE

NEAR, FAR = 0.03, 400.0
COLOUR_RANGE = 4.0
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


def _uniform(program: moderngl.Program, name: str) -> moderngl.Uniform:
    member = program[name]
    assert isinstance(member, moderngl.Uniform)
    return member


class Renderer:
    """One OpenGL context and the scene now loaded in it. Not for use from several threads."""

    def __init__(self, supersample: int = 2) -> None:
        settings: dict[str, Any] = {"backend": "egl"}  # the declared type of one setting is that of all
        self.context = moderngl.create_standalone_context(**settings)
        self.supersample = supersample
        ctx = self.context
        self.program = ctx.program(VERTEX, FRAGMENT.replace("CUTOUT", ""))
        self.cutout_program = ctx.program(VERTEX, FRAGMENT.replace("CUTOUT", "if (texel.a < 0.5) discard;"))
        self.shadow_program = ctx.program(SHADOW_VERTEX, SHADOW_FRAGMENT)
        self._targets: dict[tuple[tuple[int, int], bool], moderngl.Framebuffer] = {}
        self._scene: list[moderngl.Buffer | moderngl.TextureArray | moderngl.VertexArray] = []
        self._shadows = []
        for _ in range(2):
            texture = ctx.depth_texture((SHADOW_SIZE, SHADOW_SIZE))
            texture.compare_func = "<="
            texture.repeat_x = texture.repeat_y = False
            self._shadows.append((texture, ctx.framebuffer(depth_attachment=texture)))
        ctx.enable(moderngl.DEPTH_TEST)

    def load(
        self,
        mesh: Mesh,
        pixels: Callable[[str], Pixels],
        lighting: Lighting,
        bounds: tuple[Floats, Floats],
    ) -> None:
        """Upload a scene, render its shadow maps. `pixels` gives a key's RGBA image, `bounds` the room's (lo, hi)."""
        ctx = self.context
        for resource in self._scene:
            resource.release()
        lo, hi = (np.asarray(b, np.float64) for b in bounds)
        vertices = ctx.buffer(mesh.vertices.tobytes())
        stack = (
            np.stack([pixels(k) for k in mesh.textures])
            if mesh.textures
            else np.zeros((1, TEXTURE_SIZE, TEXTURE_SIZE, 4), np.uint8)
        )
        textures = ctx.texture_array((TEXTURE_SIZE, TEXTURE_SIZE, len(stack)), 4, np.ascontiguousarray(stack))
        textures.build_mipmaps()
        textures.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        self._scene = [vertices, textures]
        self._draws = []
        shadow_draws = []
        layout = "3f 3f 2f 4f1 1f"
        names = ("position", "normal", "uv", "tint", "layer")
        for triangles, program, shadow in (
            (mesh.opaque, self.program, True),
            (mesh.cutout, self.cutout_program, True),
            (mesh.sky, self.program, False),
        ):
            if not len(triangles):
                continue
            index = ctx.buffer(np.ascontiguousarray(triangles).tobytes())
            array = ctx.vertex_array(program, [(vertices, layout, *names)], index)
            self._scene += [index, array]
            self._draws.append(array)
            if shadow:
                cast = ctx.vertex_array(self.shadow_program, [(vertices, "3f 28x", "position")], index)
                self._scene.append(cast)
                shadow_draws.append(cast)

        lamp = self._lamp_matrix(lighting.positions[0])
        sun = self._sun_matrix(lighting.sun_direction, lo, hi)
        for (_, target), matrix in zip(self._shadows, (lamp, sun), strict=True):
            target.use()
            target.clear(depth=1.0)
            _uniform(self.shadow_program, "clip_from_world").write(np.ascontiguousarray(matrix.T, np.float32).tobytes())
            for array in shadow_draws:
                array.render()
        self._textures = textures
        count = min(len(lighting.positions), MAX_LIGHTS)
        padded = np.zeros((2, MAX_LIGHTS, 3), np.float32)
        padded[0, :count], padded[1, :count] = lighting.positions[:count], lighting.colours[:count]
        values = {
            "light_count": count,
            "light_position": padded[0],
            "light_colour": padded[1],
            "lamp_from_world": lamp.T,
            "sun_from_world": sun.T,
            "sun_direction": lighting.sun_direction,
            "sun_colour": lighting.sun_colour,
            "ambient_up": lighting.ambient_up,
            "ambient_down": lighting.ambient_down,
            "room_lo": lo,
            "room_hi": hi,
            "corner_strength": lighting.corner_strength,
            "gloss": lighting.gloss,
        }
        for program in (self.program, self.cutout_program):
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    _uniform(program, name).value = value
                else:
                    _uniform(program, name).write(np.ascontiguousarray(value, np.float32).tobytes())
            for unit, name in enumerate(("textures", "lamp_shadow", "sun_shadow")):
                _uniform(program, name).value = unit

    def render(self, K: Floats, T_world_camera: Floats, width: int, height: int) -> tuple[Floats, Floats]:
        """Render one view: linear colour (H, W, 3) f32 in 0..COLOUR_RANGE, depth along z (H, W) f32 m, 0 for sky."""
        s = self.supersample
        size = (width * s, height * s)
        target = self._draw(K, T_world_camera, size, self._target(size))
        colour = np.frombuffer(target.read(components=3, attachment=0), np.uint8).reshape(size[1], size[0], 3)
        depth = np.frombuffer(target.read(components=1, attachment=1, dtype="f4"), np.float32).reshape(size[1], size[0])
        if s == 2:
            tent = np.array([0.25, 0.5, 0.25], np.float32) / 255
            colour = cv2.sepFilter2D(colour, cv2.CV_32F, tent, tent * 255, borderType=cv2.BORDER_REPLICATE)[::2, ::2]
        else:
            colour = colour[::s, ::s] / np.float32(255)
        return COLOUR_RANGE * colour * colour, depth[::s, ::s].copy()

    def normals(self, K: Floats, T_world_camera: Floats, width: int, height: int) -> Floats:
        """Exact normals of the faces seen: (H, W, 3) f32, unit, in the camera's frame, towards it; 0 for sky."""
        s = self.supersample
        size = (width * s, height * s)
        target = self._draw(K, T_world_camera, size, self._target(size, normals=True))
        values = np.frombuffer(target.read(components=4, attachment=2, dtype="f4"), np.float32)
        world = values.reshape(size[1], size[0], 4)[::s, ::s, :3]
        return world @ np.asarray(T_world_camera, np.float32)[:3, :3]

    def _draw(
        self, K: Floats, T_world_camera: Floats, size: tuple[int, int], target: moderngl.Framebuffer
    ) -> moderngl.Framebuffer:
        """Draw the scene at the supersampled `size`; K belongs to the final image."""
        s = self.supersample
        K = np.asarray(K, np.float64) * np.array([[s], [s], [1]])
        camera_world = np.linalg.inv(np.asarray(T_world_camera, np.float64))
        clip = projection(K, *size) @ camera_world
        target.use()
        target.clear(0, 0, 0, 0)
        self._textures.use(0)
        self._shadows[0][0].use(1)
        self._shadows[1][0].use(2)
        for program in (self.program, self.cutout_program):
            _uniform(program, "clip_from_world").write(np.ascontiguousarray(clip.T, np.float32).tobytes())
            _uniform(program, "depth_row").write(np.ascontiguousarray(camera_world[2], np.float32).tobytes())
            _uniform(program, "eye").write(np.asarray(T_world_camera[:3, 3], np.float32).tobytes())
        for array in self._draws:
            array.render()
        return target

    def _target(self, size: tuple[int, int], normals: bool = False) -> moderngl.Framebuffer:
        if (size, normals) not in self._targets:
            ctx = self.context
            layers = [ctx.renderbuffer(size, 4), ctx.renderbuffer(size, 1, dtype="f4")]
            if normals:
                layers.append(ctx.renderbuffer(size, 4, dtype="f4"))
            self._targets[size, normals] = ctx.framebuffer(layers, ctx.depth_renderbuffer(size))
        return self._targets[size, normals]

    @staticmethod
    def _lamp_matrix(position: Floats) -> Floats:
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

    @staticmethod
    def _sun_matrix(direction: Floats, lo: Floats, hi: Floats) -> Floats:
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
