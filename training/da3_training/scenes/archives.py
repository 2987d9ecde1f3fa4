# SPDX-License-Identifier: Apache-2.0
"""The `.sh3f` furniture archives of Sweet Home 3D: catalogue, models in real size, textures; parsed into a cache."""

from __future__ import annotations

import logging
import posixpath
import re
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from da3_training.scenes.furniture import Material, Model, split_of
from da3_training.scenes.obj_files import MtlMaterial, parse_mtl, parse_obj
from da3_training.scenes.texels import to_rgba

log = logging.getLogger(__name__)

FURNITURE_DIR = Path("/usr/share/sweethome3d/furniture")
MAX_TRIANGLES = 40_000
LICENCES = {
    "BlendSwap-CC-0": "CC0 1.0",
    "BlendSwap-CC-BY": "CC-BY 3.0",
    "KatorLegaz": "CC-BY 3.0 US",
    "Reallusion": "CC-BY 3.0 US",
    "Scopia": "CC-BY 3.0",
}
# Signs that carry only a drawing on the ground, and things whose real size does not fit a picture of a room.
_UNUSED = re.compile(
    r"parking|arrow|rail crossing|rails|pedestrian crossing|antenna plug|smoke detector|^bus$|city bus|escalator"
    r"|elevator|swimming pool|contemporary living room|garden hut|barnum|football goal|bill \d",
    re.IGNORECASE,
)


def read_catalogue(archive: Path) -> list[dict[str, str]]:
    """Read `PluginFurnitureCatalog.properties` of one `.sh3f` archive into a list of entries."""
    with zipfile.ZipFile(archive) as z:
        text = z.read("PluginFurnitureCatalog.properties").decode("latin-1")
    entries: dict[int, dict[str, str]] = {}
    for line in text.splitlines():
        match = re.match(r"(\w+)#(\d+)=(.*)", line.strip())
        if match:
            entries.setdefault(int(match[2]), {})[match[1]] = match[3].strip()
    return [entries[i] for i in sorted(entries)]


def _build(  # noqa: PLR0915 - one entry, read from top to bottom
    entry: dict[str, str], archive: zipfile.ZipFile, names: dict[str, str], source: str, cache: Path
) -> dict[str, Any] | None:
    """Parse one catalogue entry into `<cache>/<key>.npz`; return its record, or None when the entry is not usable."""
    path = names.get(entry["model"].lstrip("/").lower())
    if path is None or _UNUSED.search(entry["name"]):
        return None
    folder = posixpath.dirname(path)
    positions, uvs, normals, corners, used, libraries = parse_obj(archive.read(path).decode("latin-1"))
    if not 0 < len(corners) <= MAX_TRIANGLES or not len(positions):
        return None
    materials: dict[str, MtlMaterial] = {}
    for library in libraries:
        mtl = names.get(posixpath.normpath(posixpath.join(folder, library)).lower())
        if mtl:
            materials.update(parse_mtl(archive.read(mtl).decode("latin-1"), folder, names))
    key = f"{source}/{posixpath.basename(folder)}/{posixpath.basename(path)[:-4]}"

    unique, inverse = np.unique(corners.reshape(-1, 4), axis=0, return_inverse=True)
    triangles = inverse.reshape(-1, 3).astype(np.int32)
    pos = positions[unique[:, 0]]
    has_normal = unique[:, 2] >= 0
    nrm = np.zeros_like(pos)
    nrm[has_normal] = normals[unique[has_normal, 2]]
    face = np.cross(pos[triangles[:, 1]] - pos[triangles[:, 0]], pos[triangles[:, 2]] - pos[triangles[:, 0]])
    if not has_normal.all():
        smooth = np.zeros_like(pos)
        for i in range(3):
            np.add.at(smooth, triangles[:, i], face)
        nrm[~has_normal] = smooth[~has_normal]
    uv = np.zeros((len(unique), 2), np.float32)
    has_uv = unique[:, 1] >= 0
    uv[has_uv] = uvs[unique[has_uv, 1]]

    if "modelRotation" in entry:
        rotation = np.array([float(x) for x in entry["modelRotation"].split()], np.float32).reshape(3, 3)
        pos, nrm = pos @ rotation.T, nrm @ rotation.T
    y_up = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    pos, nrm = pos @ y_up.T, nrm @ y_up.T
    size = np.array([float(entry[k]) for k in ("width", "depth", "height")], np.float32) / 100
    lo, hi = pos.min(0), pos.max(0)
    scale = size / np.maximum(hi - lo, 1e-6)
    scale = np.where(hi - lo < 1e-5, 1.0, scale)
    pos = (pos - (lo + hi) / 2) * scale
    pos[:, 2] -= pos[:, 2].min()
    nrm = nrm / scale
    nrm /= np.maximum(np.linalg.norm(nrm, axis=1, keepdims=True), 1e-12)

    records = []
    for name in used or [""]:
        m = materials.get(name, {})
        texture, cutout = None, False
        if image := m.get("map"):
            texture, cutout = _cache_texture(archive, image, source, cache)
        records.append(
            Material(
                tuple(np.clip(m.get("kd", [0.7, 0.7, 0.7]), 0, 1).tolist()),
                m.get("alpha", 1.0),
                min(m.get("ks", 0.0), 1.0),
                texture,
                cutout,
            )
        )
    material = np.maximum(unique[:, 3], 0).astype(np.int16)
    keep = np.array([r.alpha >= 0.35 for r in records])[material[triangles[:, 0]]]
    triangles = triangles[keep]
    if len(triangles) == 0 or not np.isfinite(pos).all():
        return None
    target = cache / "models" / (key.replace("/", "__") + ".npz")
    np.savez(
        target,
        positions=pos.astype(np.float32),
        normals=nrm.astype(np.float32),
        uvs=uv,
        material=material,
        triangles=triangles,
    )
    elevation = float(entry.get("elevation", 0)) / 100
    return asdict(
        Model(
            key,
            entry["name"],
            entry.get("creator", "unknown"),
            LICENCES.get(source, "see archive"),
            entry.get("category", ""),
            tuple(size.tolist()),
            elevation,
            entry.get("doorOrWindow", "false") == "true",
            split_of(key),
            len(triangles),
            tuple(records),
        )
    )


def _cache_texture(archive: zipfile.ZipFile, path: str, source: str, cache: Path) -> tuple[str | None, bool]:
    """Resize one texture to TEXTURE_SIZE squared RGBA; return its file name and whether it is cut out by alpha."""
    name = f"{source}__{path.replace('/', '__')}.npy"
    target = cache / "textures" / name
    if target.exists():
        return name, bool((np.load(target, mmap_mode="r")[::8, ::8, 3] < 128).mean() > 0.02)
    image = cv2.imdecode(np.frombuffer(archive.read(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        return None, False
    rgba = to_rgba(image)
    np.save(target, rgba)
    return name, bool((rgba[..., 3] < 128).mean() > 0.02)


def parse_archive(archive: Path, cache: Path) -> list[dict[str, Any]]:
    records = []
    with zipfile.ZipFile(archive) as z:
        names = {n.lower(): n for n in z.namelist()}
        for entry in read_catalogue(archive):
            try:
                record = _build(entry, z, names, archive.stem, cache)
            except (ValueError, IndexError, KeyError) as error:
                log.warning("model %s of %s left out: %s", entry.get("model"), archive.name, error)
                continue
            if record:
                records.append(record)
    return records
