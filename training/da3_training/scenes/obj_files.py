# SPDX-License-Identifier: Apache-2.0
"""OBJ meshes and MTL materials, read from their text."""

from __future__ import annotations

import posixpath
from typing import TypedDict

import numpy as np

from da3_training.scenes.arrays import Floats, Indices


class MtlMaterial(TypedDict, total=False):
    """What is used of a material: each entry only if its file has the line."""

    kd: list[float]
    """Diffuse colour."""
    ks: float
    """Mean of the specular colour."""
    alpha: float
    map: str | None
    """Name of the texture file in the archive; None for one that is not there."""


def parse_mtl(text: str, folder: str, names: dict[str, str]) -> dict[str, MtlMaterial]:
    materials: dict[str, MtlMaterial] = {}
    current: MtlMaterial = {}
    for line in text.splitlines():
        parts = line.split()
        if not parts:
            continue
        word = parts[0].lower()
        try:
            if word == "newmtl":
                current = materials.setdefault(" ".join(parts[1:]), {})
            elif word == "kd":
                current["kd"] = [float(x) for x in parts[1:4]]
            elif word == "ks":
                current["ks"] = float(np.mean([float(x) for x in parts[1:4]]))
            elif word == "d":
                current["alpha"] = float(parts[-1])
            elif word == "map_kd":
                path = posixpath.normpath(posixpath.join(folder, line.strip().split(None, 1)[1].replace("\\", "/")))
                current["map"] = names.get(path.lower())
        except ValueError:
            continue  # a malformed number in one material line keeps that material's default
    return materials


def parse_obj(text: str) -> tuple[Floats, Floats, Floats, Indices, list[str], list[str]]:
    """Return positions, uvs, normals, corners (T, 3, 4: v, vt, vn, material; -1 absent), material names, mtl files."""
    v: list[str] = []
    vt: list[str] = []
    vn: list[str] = []
    corners: list[tuple[int, int, int, int]] = []
    names: list[str] = []
    libraries: list[str] = []
    current = -1

    def corner(token: str) -> tuple[int, int, int, int]:
        fields = token.split("/")
        a = int(fields[0])
        b = int(fields[1]) if len(fields) > 1 and fields[1] else 0
        c = int(fields[2]) if len(fields) > 2 and fields[2] else 0
        return (
            a - 1 if a > 0 else len(v) + a,
            b - 1 if b > 0 else (len(vt) + b if b else -1),
            c - 1 if c > 0 else (len(vn) + c if c else -1),
            current,
        )

    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("v "):
            v.append(line[2:])
        elif line.startswith("vt "):
            vt.append(line[3:])
        elif line.startswith("vn "):
            vn.append(line[3:])
        elif line.startswith("f "):
            polygon = [corner(t) for t in line.split()[1:]]
            for i in range(1, len(polygon) - 1):
                corners += (polygon[0], polygon[i], polygon[i + 1])
        elif line.startswith("usemtl"):
            name = line[6:].strip()
            if name not in names:
                names.append(name)
            current = names.index(name)
        elif line.startswith("mtllib"):
            libraries.append(line[6:].strip())

    def table(rows: list[str], n: int) -> Floats:
        return np.array([r.split()[:n] for r in rows], np.float32).reshape(-1, n)

    return (
        table(v, 3),
        table([r + " 0" for r in vt], 2),
        table(vn, 3),
        np.array(corners, np.int64).reshape(-1, 3, 4),
        names,
        libraries,
    )
