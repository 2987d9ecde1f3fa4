# SPDX-License-Identifier: Apache-2.0
"""Meshes of a world's visuals in the world's frame, each surface of one look. COLLADA, OBJ, STL and glTF by trimesh."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from da3_training.scenes.arrays import Floats, Pixels
from da3_training.scenes.texels import to_rgba
from da3_training.scenes.worlds.materials import colour_of, find_image, texture_of
from da3_training.scenes.worlds.sdf import Visual, WorldFile

GREY = (0.7, 0.7, 0.7)
SMOOTH = 0.6
"""Cosine of the angle between the normals of a triangle and of its corner up to which light runs smoothly over it."""
_Z_UP = {
    "X_UP": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "Y_UP": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "Z_UP": np.eye(3),
}


@dataclass(frozen=True)
class Surface:
    """Triangles of one look: corners, normals (3 T, 3), uvs (3 T, 2; v down), metres in the frame of the world or of
    the mesh; colour: sRGB; texture: key of an image or None; cutout: whether its image has holes; instance: number of
    the model; endless: whether it is a plane, which SDF means to have no end.
    """

    corners: Floats
    normals: Floats
    uvs: Floats
    colour: tuple[float, ...] = GREY
    texture: str | None = None
    cutout: bool = False
    instance: int = -1
    endless: bool = False


class Surfaces:
    """Surfaces of a world's visuals; `images`: RGBA (TEXTURE_SIZE, TEXTURE_SIZE, 4) by key."""

    def __init__(self, world: WorldFile) -> None:
        self.images: dict[str, Pixels] = {}
        self.notes = list(world.notes)
        self._holes: dict[str, bool] = {}
        self._meshes: dict[tuple[Path, str], list[Surface]] = {}
        self.all = [surface for visual in world.visuals for surface in self._of(visual)]

    def _of(self, visual: Visual) -> list[Surface]:
        if visual.mesh is not None:
            key = visual.mesh, visual.part
            if key not in self._meshes:
                try:
                    self._meshes[key] = self._mesh(visual.mesh, visual.part, visual.folder)
                except Exception as error:  # loaders raise what they like, and one broken mesh is not the world's end
                    self.notes.append(f"mesh {visual.mesh} cannot be read ({type(error).__name__}: {error})")
                    self._meshes[key] = []
            raw, scale = self._meshes[key], np.diag([*visual.size, 1.0])
        else:
            raw, scale = [_surface(_primitive(visual))], np.eye(4)
        T = visual.T_world_visual @ scale
        turn = np.linalg.inv(T[:3, :3])
        colour, texture = colour_of(visual), self._described(texture_of(visual))
        made = []
        for surface in raw:
            look: dict[str, Any] = {"endless": visual.shape == "plane"}
            if surface.texture is None and texture is not None:
                look |= {"texture": texture, "cutout": self._holes[texture]}
            elif surface.texture is None and colour is not None:
                look |= {"colour": colour}
            normals = surface.normals @ turn
            normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
            corners = surface.corners @ T[:3, :3].T + T[:3, 3]
            made.append(replace(surface, corners=corners, normals=normals, instance=visual.instance, **look))
        return made

    def _mesh(self, path: Path, part: str, folder: Path) -> list[Surface]:
        with path.open("rb") as file:
            scene = trimesh.load_scene(
                file, file_type=path.suffix[1:].lower(), resolver=_Nearby(path, folder), process=False
            )
        frame = _collada_frame(path) if path.suffix.lower() == ".dae" else np.eye(4)
        found = []
        for node in scene.graph.nodes_geometry:
            T, name = scene.graph[node]
            mesh = scene.geometry[name]
            if isinstance(mesh, trimesh.Trimesh) and part.lower() in f"{node} {name}".lower():
                mesh = mesh.copy()
                mesh.apply_transform(frame @ T)
                found.append(self._look(_surface(mesh), mesh, f"{path}#{name}"))
        if not found:
            raise ValueError(f"no triangles{f' in a part {part!r}' if part else ''}")
        return found

    def _look(self, surface: Surface, mesh: Any, key: str) -> Surface:
        material = getattr(mesh.visual, "material", None)
        image = getattr(material, "image", None)
        image = getattr(material, "baseColorTexture", None) if image is None else image
        if image is not None:
            texture = self._image(key, np.asarray(image.convert("RGBA")))
            return replace(surface, texture=texture, cutout=self._holes[texture])
        if material is not None:
            return replace(surface, colour=tuple(np.asarray(material.main_color[:3]) / 255.0))
        return surface

    def _described(self, image: Path | None) -> str | None:
        """Key of an image that the SDF names; None, with a note, where it cannot be read."""
        if image is None:
            return None
        if str(image) not in self.images:
            try:
                self._image(str(image), _open(image))
            except OSError as error:
                note = f"image {image} cannot be read ({error})"
                self.notes += [note] if note not in self.notes else []
                return None
        return str(image)

    def _image(self, key: str, rgba: Pixels) -> str:
        if key not in self.images:
            self.images[key] = to_rgba(np.ascontiguousarray(rgba[..., [2, 1, 0, 3]]))
            self._holes[key] = bool((rgba[..., 3] < 128).mean() > 0.01)
        return key


class _Nearby(trimesh.resolvers.FilePathResolver):
    """Finds what a mesh names by its path, else by its name in the model: many are moved after they are exported."""

    def __init__(self, mesh: Path, folder: Path) -> None:
        super().__init__(str(mesh))
        self.mesh, self.folder = mesh, folder

    def get(self, name: str) -> bytes:
        wanted = name.replace("\\", "/").removeprefix("file://").strip()
        beside = self.mesh.parent / wanted
        path = beside if beside.is_file() else find_image(wanted, self.folder)
        if path is None:
            raise FileNotFoundError(f"{name}, named in {self.mesh}, is not in {self.folder}")
        return path.read_bytes()


def _open(path: Path) -> Pixels:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGBA"))


def _primitive(visual: Visual) -> Any:
    size = visual.size
    if visual.shape == "box":
        return trimesh.creation.box(size)
    if visual.shape == "cylinder":
        return trimesh.creation.cylinder(size[0], size[1], sections=24)
    if visual.shape == "sphere":
        return trimesh.creation.icosphere(2, size[0])
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * [size[0] / 2, size[1] / 2, 1]
    return trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)


def _surface(mesh: Any) -> Surface:
    """Corners of every triangle by themselves; normals of the vertices, but where they are far from the triangle's: a
    box has edges.
    """
    faces, flat = mesh.faces, np.repeat(mesh.face_normals, 3, 0)
    normals = mesh.vertex_normals[faces].reshape(-1, 3)
    normals = np.where((normals * flat).sum(1, keepdims=True) > SMOOTH, normals, flat)
    uv = getattr(mesh.visual, "uv", None)
    uvs = np.zeros((3 * len(faces), 2)) if uv is None or len(uv) != len(mesh.vertices) else uv[faces].reshape(-1, 2)
    return Surface(mesh.vertices[faces].reshape(-1, 3), normals, uvs * [1, -1] + [0, 1])


def _collada_frame(path: Path) -> Floats:
    """4x4 from a COLLADA file's own frame to z up and metres, as its <asset> says."""
    T, unit, up = np.eye(4), 1.0, "Y_UP"
    with path.open("rb") as file:
        for _, element in ET.iterparse(file, ("end",)):
            tag = element.tag.rpartition("}")[2]
            if tag == "unit":
                unit = float(element.get("meter", 1.0))
            elif tag == "up_axis":
                up = (element.text or up).strip()
            elif tag == "asset":
                break
    T[:3, :3] = _Z_UP.get(up, np.eye(3)) * unit
    return T
