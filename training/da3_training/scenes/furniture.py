# SPDX-License-Identifier: Apache-2.0
"""What a piece of furniture is: a catalogue entry with its size and materials, a mesh, and the split it belongs to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from da3_training.scenes.arrays import Floats, Indices

HELDOUT_FRACTION = 0.15


def split_of(name: str) -> str:
    """Return `train` or `heldout` for an asset name: a stable hash, the same on every machine."""
    value = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return "heldout" if value < HELDOUT_FRACTION else "train"


@dataclass(frozen=True)
class Material:
    """One OBJ material: diffuse colour (linear-ish 0..1), opacity, specular strength, cached texture file or None."""

    colour: tuple[float, float, float]
    alpha: float = 1.0
    specular: float = 0.0
    texture: str | None = None
    cutout: bool = False


@dataclass(frozen=True)
class Model:
    """One catalogue entry. Sizes in metres: width (x), depth (y, back of the piece at +y), height (z)."""

    key: str
    name: str
    creator: str
    licence: str
    category: str
    size: tuple[float, float, float]
    elevation: float
    door_or_window: bool
    split: str
    triangles: int = 0
    materials: tuple[Material, ...] = field(default_factory=tuple)


def model_of_record(record: dict[str, Any]) -> Model:
    """The model of which `dataclasses.asdict` made `record`, perhaps by way of JSON."""
    materials = tuple(Material(**{**m, "colour": tuple(m["colour"])}) for m in record["materials"])
    return Model(**{**record, "size": tuple(record["size"]), "materials": materials})


@dataclass(frozen=True)
class Geometry:
    """Mesh in metres, z up, standing on z = 0, footprint centred on the origin.

    positions (V, 3) f32, normals (V, 3) f32, uvs (V, 2) f32, material (V,) i16, triangles (T, 3) i32.
    """

    positions: Floats
    normals: Floats
    uvs: Floats
    material: Indices
    triangles: Indices
