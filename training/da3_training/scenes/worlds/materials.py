# SPDX-License-Identifier: Apache-2.0
"""Colours and textures that an SDF material names: plain colours, maps of PBR, scripts of OGRE."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from da3_training.scenes.worlds.sdf import Visual, path_in, texts

IMAGES = (".png", ".jpg", ".jpeg", ".tga", ".bmp", ".tif", ".tiff")


def colour_of(visual: Visual) -> tuple[float, float, float] | None:
    """sRGB, 0 to 1, of a visual whose SDF has one; None: that of the mesh."""
    for text in texts(visual.material, "diffuse", "ambient"):
        with suppress(ValueError):  # what is no colour is as good as none
            red, green, blue = (float(n) for n in text.split()[:3])
            return red, green, blue
    return None


def texture_of(visual: Visual) -> Path | None:
    """The image that a visual's SDF names, as a map of PBR or in a script; None: that of the mesh."""
    for name in texts(visual.material, "pbr/metal/albedo_map", "pbr/specular/albedo_map"):
        found = find_image(name, visual.folder)
        if found is not None:
            return found
    for script in texts(visual.material, "script/name"):
        for path in sorted(visual.folder.rglob("*.material")):
            for image in _images_of(path.read_text(errors="replace"), script):
                found = find_image(image, visual.folder)
                if found is not None:
                    return found
    return None


def _images_of(text: str, script: str) -> Iterator[str]:
    """Images of one material in a file of OGRE scripts."""
    for block in re.split(r"^\s*material\s+", text, flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("{")
        if head.split(":")[0].strip().strip('"') == script:
            for line in re.findall(r"^\s*texture\s+(.+?)\s*$", body, re.MULTILINE):
                yield line.split()[0]


def find_image(name: str, folder: Path) -> Path | None:
    """An image that a file of a model names: by its path, else by its name anywhere in the model's `folder`."""
    path = folder / path_in(name.replace("\\", "/"))
    if path.is_file():
        return path
    wanted = Path(name.replace("\\", "/")).name.lower()
    found = sorted(p for p in folder.rglob("*") if p.name.lower() == wanted and p.suffix.lower() in IMAGES)
    return found[0] if found else None
