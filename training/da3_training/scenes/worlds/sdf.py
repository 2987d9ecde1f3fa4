# SPDX-License-Identifier: Apache-2.0
"""What stands in a Gazebo world, read from its SDF files (http://sdformat.org): visuals and their poses."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

SHAPES = {
    "mesh": (("scale", "1 1 1"),),
    "box": (("size", "1 1 1"),),
    "cylinder": (("radius", "0.5"), ("length", "1")),
    "sphere": (("radius", "0.5"),),
    "plane": (("size", "1 1"),),
}
"""Shapes of a visual, with the elements that give their size and what these are where they are not there."""
SEARCH_PATHS = (
    "GAZEBO_MODEL_PATH", "GAZEBO_RESOURCE_PATH", "GZ_SIM_RESOURCE_PATH", "IGN_GAZEBO_RESOURCE_PATH", "SDF_PATH"
)  # fmt: skip
"""Variables that name folders of models, as Gazebo reads them."""
DEEPEST = 8
"""Models inside of models, before it must be a circle."""


class WorldError(ValueError):
    """A world that nothing can be rendered in; says why."""


@dataclass(frozen=True)
class Visual:
    """A visual of a model. `instance`: number of the model in the world; `shape`: one of SHAPES; `size`: sides of a
    box [3] or a plane [2], radius and length of a cylinder, radius of a sphere, scale of a mesh [3]; `mesh`: its file
    and `part` the name of its submesh, "" for all of it; `material`: the element, for colours and textures; `folder`:
    of the model; T_world_visual: 4x4, metres.
    """

    instance: int
    shape: str
    size: tuple[float, ...]
    T_world_visual: NDArray[np.float64]
    folder: Path
    mesh: Path | None = None
    part: str = ""
    material: ET.Element | None = None


@dataclass
class WorldFile:
    """A world read: its `visuals`, and `notes`: a sentence for each thing that is not among them."""

    visuals: list[Visual] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    instances: int = 0


def read_world(path: Path, models: Sequence[Path] = ()) -> WorldFile:
    """Everything visible in a world. models: folders of models, before those of Gazebo's variables and the `models`
    beside the world's folder; the folders that these are in are searched as well, for ``file://models/...``. What is
    not there is noted, not an error. Raises `WorldError` for what is no world.
    """
    world = _root(path).find("world")
    if world is None:
        raise WorldError(f"{path} holds no <world>: give a world of Gazebo (.world or .sdf), not a model")
    named = [Path(p) for name in SEARCH_PATHS for p in os.environ.get(name, "").split(os.pathsep) if p]
    around = [path.parent.parent / "models", path.parent / "models", path.parent.parent, path.parent]
    reader = _Reader([*models, *named, *around, *(folder.parent for folder in models)])
    reader.all_of(world, np.eye(4), path.parent, 0)
    return reader.found


class _Reader:
    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.found = WorldFile()
        self.models: dict[str, tuple[ET.Element, Path] | None] = {}

    def all_of(self, parent: ET.Element, T_world_parent: NDArray[np.float64], folder: Path, depth: int) -> None:
        """Models of a world or of a model, and those that it includes."""
        if depth > DEEPEST:
            raise WorldError(f"models in {folder} include each other in a circle")
        for model in parent.findall("model"):
            self.model(model, T_world_parent @ self.pose(model), folder, depth)
        for include in parent.findall("include"):
            uri = (include.findtext("uri") or "").strip()
            if uri not in self.models:
                self.models[uri] = self.open(uri)
            opened = self.models[uri]
            if opened is not None:
                model, where = opened
                own = self.pose(include if include.find("pose") is not None else model)
                self.model(model, T_world_parent @ own, where, depth)

    def model(self, model: ET.Element, T_world_model: NDArray[np.float64], folder: Path, depth: int) -> None:
        instance = self.found.instances
        self.found.instances += 1
        for link in model.findall("link"):
            T_world_link = T_world_model @ self.pose(link)
            for visual in link.findall("visual"):
                self.visual(visual, instance, T_world_link @ self.pose(visual), folder)
        self.all_of(model, T_world_model, folder, depth + 1)

    def visual(self, visual: ET.Element, instance: int, T: NDArray[np.float64], folder: Path) -> None:
        for shape, sizes in SHAPES.items():
            geometry = visual.find(f"geometry/{shape}")
            if geometry is None:
                continue
            material = visual.find("material")
            size = tuple(n for name, default in sizes for n in _numbers(geometry, name, default))
            if shape != "mesh":
                self.found.visuals.append(Visual(instance, shape, size, T, folder, material=material))
                return
            uri = (geometry.findtext("uri") or "").strip()
            mesh = self.path(uri, folder)
            if mesh is None:
                self.note(f"mesh {uri} is not there")
                return
            part = (geometry.findtext("submesh/name") or "").strip()
            self.found.visuals.append(Visual(instance, "mesh", size, T, folder, mesh, part, material))
            return

    def pose(self, element: ET.Element) -> NDArray[np.float64]:
        """4x4 of the element's <pose>, in its parent; identity where it has none."""
        T, pose = np.eye(4), element.find("pose")
        if pose is None or not (pose.text or "").split():
            return T
        if pose.get("relative_to") or pose.get("frame"):
            self.note(f"a pose of {element.get('name', element.tag)!r} is taken in its parent, not in another frame")
        numbers = _floats(pose.text or "", f"pose of {element.get('name', element.tag)!r}", 6)
        T[:3, 3] = numbers[:3]
        degrees = pose.get("degrees", "false").strip().lower() in ("true", "1")
        T[:3, :3] = Rotation.from_euler("xyz", numbers[3:], degrees).as_matrix()
        return T

    def open(self, uri: str) -> tuple[ET.Element, Path] | None:
        """The <model> that a URI names, and its folder; None, with a note, where it is not here."""
        folder = self.path(uri)
        if folder is None or not folder.is_dir():
            remote = " (nothing is downloaded: fetch it into a folder of --models)" if uri.startswith("http") else ""
            self.note(f"model {uri} is not there{remote}")
            return None
        try:
            description = folder / "model.sdf"
            if not description.is_file() and (folder / "model.config").is_file():
                named = [e.text.strip() for e in _root(folder / "model.config").findall("sdf") if e.text]
                description = folder / (named[-1] if named else description.name)
            root = _root(description)
        except WorldError as error:
            self.note(f"model {uri} is left away: {error}")
            return None
        model = root.find("model")
        if model is None:
            if root.find("light") is None:  # lamps are of the scene that is drawn, not of the world
                self.note(f"model {uri} is left away: {description} holds no <model>")
            return None
        return model, folder

    def path(self, uri: str, folder: Path | None = None) -> Path | None:
        """The file or folder of a URI, whatever the case of its last part: makers of models do not mind it."""
        name = path_in(uri)
        for base in [*([folder] if folder else []), *self.folders]:
            found = base / name
            if found.exists():
                return found
            if found.parent.is_dir():
                alike = [p for p in found.parent.iterdir() if p.name.lower() == found.name.lower()]
                if alike:
                    return alike[0]
        return None

    def note(self, sentence: str) -> None:
        if sentence not in self.found.notes:
            self.found.notes.append(sentence)


def _root(path: Path) -> ET.Element:
    try:
        return ET.fromstring(path.read_bytes())
    except (OSError, ET.ParseError) as error:
        raise WorldError(f"{path} cannot be read as SDF: {error}") from error


def _numbers(element: ET.Element, name: str, default: str) -> tuple[float, ...]:
    """Numbers of a child, as many as the default has."""
    return _floats(element.findtext(name) or default, f"{name} of a {element.tag}", len(default.split()))


def _floats(text: str, what: str, count: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(n) for n in text.split())
    except ValueError:
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise WorldError(f"{what} is {text.strip()!r}: give {count} number{'s' if count > 1 else ''}")
    return numbers


def path_in(uri: str) -> str:
    """The path in a URI of a model, a package or a file, or the path that it is already."""
    return re.sub(r"^(model|package|file)://", "", uri)


def texts(element: ET.Element | None, *names: str) -> Iterator[str]:
    """Texts of the elements at these paths that are there and not empty."""
    for name in names:
        for found in [] if element is None else element.findall(name):
            if found.text and found.text.strip():
                yield found.text.strip()
