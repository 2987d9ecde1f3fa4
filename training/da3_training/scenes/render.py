# SPDX-License-Identifier: Apache-2.0
"""OpenGL renderer without a window: linear colour (2x supersampled) and exact depth of a merged scene.

Cameras are OpenCV cameras (x right, y down, z forward), pixel centres at integer coordinates. The supersampled image
holds sample (2u, 2v) exactly at the centre of pixel (u, v): the colour of a pixel is a symmetric 3x3 tent around it,
its depth that one sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import moderngl
import numpy as np

from da3_training.data.camera import COLOUR_RANGE
from da3_training.scenes.arrays import Floats, Pixels
from da3_training.scenes.lighting import SHADOW_SIZE, Lighting, projection, uniforms
from da3_training.scenes.mesh import Mesh
from da3_training.scenes.shaders import EVERYWHERE, FRAGMENT, RESOLVE, SHADOW_FRAGMENT, SHADOW_VERTEX, VERTEX
from da3_training.scenes.texels import TEXTURE_SIZE


def _uniform(program: moderngl.Program, name: str) -> moderngl.Uniform:
    member = program[name]
    assert isinstance(member, moderngl.Uniform)
    return member


@dataclass(frozen=True)
class Stage:
    """A scene on the device, ready to be rendered."""

    textures: moderngl.TextureArray
    shadows: list[moderngl.Texture]
    draws: list[moderngl.VertexArray]
    uniforms: dict[str, Any]
    resources: list[Any]

    def release(self) -> None:
        """Give its memory back; it must not be shown any more."""
        for resource in self.resources:
            resource.release()


class Renderer:
    """One OpenGL context and the scene now shown in it. Not for use from several threads."""

    def __init__(self, supersample: int = 2) -> None:
        settings: dict[str, Any] = {"backend": "egl"}  # the declared type of one setting is that of all
        self.context = moderngl.create_standalone_context(**settings)
        self.supersample = supersample
        ctx = self.context
        self.program = ctx.program(VERTEX, FRAGMENT.replace("CUTOUT", ""))
        self.cutout_program = ctx.program(VERTEX, FRAGMENT.replace("CUTOUT", "if (texel.a < 0.5) discard;"))
        self.shadow_program = ctx.program(SHADOW_VERTEX, SHADOW_FRAGMENT)
        self._resolve = ctx.vertex_array(ctx.program(EVERYWHERE, RESOLVE), [])
        self._targets: dict[tuple[tuple[int, int], bool], moderngl.Framebuffer] = {}
        self._samples: dict[tuple[int, int], moderngl.Framebuffer] = {}
        self._resolved: dict[tuple[int, int, int], moderngl.Framebuffer] = {}
        self._stage: Stage | None = None
        ctx.enable(moderngl.DEPTH_TEST)

    def load(
        self,
        mesh: Mesh,
        pixels: Callable[[str], Pixels],
        lighting: Lighting,
        bounds: tuple[Floats, Floats],
    ) -> None:
        """Upload a scene in place of the last one, and show it. See `upload`."""
        if self._stage is not None:
            self._stage.release()
        self.show(self.upload(mesh, pixels, lighting, bounds))

    def upload(
        self,
        mesh: Mesh,
        pixels: Callable[[str], Pixels],
        lighting: Lighting,
        bounds: tuple[Floats, Floats],
        texture_size: int = TEXTURE_SIZE,
    ) -> Stage:
        """Put a scene on the device and render its shadow maps; `show` makes it the one that is rendered.

        pixels: gives a key's RGBA image, (texture_size, texture_size, 4); bounds: the room's (lo, hi).
        """
        ctx = self.context
        vertices = ctx.buffer(mesh.vertices.tobytes())
        stack = (
            np.stack([pixels(k) for k in mesh.textures])
            if mesh.textures
            else np.zeros((1, texture_size, texture_size, 4), np.uint8)
        )
        textures = ctx.texture_array((*stack.shape[2:0:-1], len(stack)), 4, np.ascontiguousarray(stack))
        textures.build_mipmaps()
        textures.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        resources: list[Any] = [vertices, textures]
        draws, shadow_draws = [], []
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
            resources += [index, array]
            draws.append(array)
            if shadow:
                cast = ctx.vertex_array(self.shadow_program, [(vertices, "3f 28x", "position")], index)
                resources.append(cast)
                shadow_draws.append(cast)
        told = uniforms(lighting, *(np.asarray(b, np.float64) for b in bounds))
        shadows = []
        for name in ("lamp_from_world", "sun_from_world"):
            texture, target = self._shadow_map()
            resources += [texture, target]
            shadows.append(texture)
            target.use()
            target.clear(depth=1.0)
            _uniform(self.shadow_program, "clip_from_world").write(
                np.ascontiguousarray(told[name], np.float32).tobytes()
            )
            for array in shadow_draws:
                array.render()
        return Stage(textures, shadows, draws, told, resources)

    def _shadow_map(self) -> tuple[moderngl.Texture, moderngl.Framebuffer]:
        texture = self.context.depth_texture((SHADOW_SIZE, SHADOW_SIZE))
        texture.compare_func = "<="
        texture.repeat_x = texture.repeat_y = False
        return texture, self.context.framebuffer(depth_attachment=texture)

    def show(self, stage: Stage) -> None:
        """Render this scene from now on."""
        self._stage = stage
        for program in (self.program, self.cutout_program):
            for name, value in stage.uniforms.items():
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

    def queue(self, K: Floats, T_world_camera: Floats, width: int, height: int, number: int) -> None:
        """Have the device render a view, colour averaged there; `fetch` with the same `number` waits for it.

        Several views may be under way, each with a number of its own. `supersample` must be 2.
        """
        size = (2 * width, 2 * height)
        if size not in self._samples:
            layers = [self.context.texture(size, 4), self.context.texture(size, 1, dtype="f4")]
            self._samples[size] = self.context.framebuffer(layers, self.context.depth_renderbuffer(size))
        samples = self._draw(K, T_world_camera, size, self._samples[size])
        key = (width, height, number)
        if key not in self._resolved:
            layers = [self.context.texture(key[:2], 4), self.context.texture(key[:2], 1, dtype="f4")]
            self._resolved[key] = self.context.framebuffer(layers)
        for unit, layer in enumerate(samples.color_attachments):
            assert isinstance(layer, moderngl.Texture)
            layer.filter = (moderngl.NEAREST, moderngl.NEAREST)
            layer.use(unit)
        program = self._resolve.program
        for unit, name in enumerate(("colours", "depths")):
            _uniform(program, name).value = unit
        self._resolved[key].use()
        self.context.disable(moderngl.DEPTH_TEST)
        self._resolve.render(vertices=3)
        self.context.enable(moderngl.DEPTH_TEST)

    def fetch(self, width: int, height: int, number: int, picture: Pixels, depth: Floats) -> None:
        """Read a queued view: `picture` (H, W, 3) u8 gets the square root of its linear colour over COLOUR_RANGE,
        `depth` (H, W) f32 metres along z, 0 for sky. Both contiguous.
        """
        resolved = self._resolved[width, height, number]
        resolved.read_into(picture, components=3, attachment=0, alignment=1)
        resolved.read_into(depth, components=1, attachment=1, dtype="f4")

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
        stage = self._stage
        if stage is None:
            raise RuntimeError("no scene is shown: call load or show first")
        s = self.supersample
        K = np.asarray(K, np.float64) * np.array([[s], [s], [1]])
        camera_world = np.linalg.inv(np.asarray(T_world_camera, np.float64))
        clip = projection(K, *size) @ camera_world
        target.use()
        target.clear(0, 0, 0, 0)
        stage.textures.use(0)
        for unit, shadow in enumerate(stage.shadows, 1):
            shadow.use(unit)
        for program in (self.program, self.cutout_program):
            _uniform(program, "clip_from_world").write(np.ascontiguousarray(clip.T, np.float32).tobytes())
            _uniform(program, "depth_row").write(np.ascontiguousarray(camera_world[2], np.float32).tobytes())
            _uniform(program, "eye").write(np.asarray(T_world_camera[:3, 3], np.float32).tobytes())
        for array in stage.draws:
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
