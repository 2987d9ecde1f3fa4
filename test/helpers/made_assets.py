# SPDX-License-Identifier: Apache-2.0
"""Made-up packages of furniture and textures: an archive of 30 models of six roles, three wheels of an image each."""

from __future__ import annotations

import zipfile

import cv2
import numpy as np

# Name and elevation [cm] of pieces of each role; the splits come from hashes of their keys.
PIECES = [("Kitchen table", 0), ("Sofa", 0), ("Cup", 0), ("Pendant lamp", 180), ("Wall clock", 150), ("Oak tree", 0)]
SIZES = {"Kitchen table": (120, 60, 74.5), "Sofa": (180, 80, 80), "Cup": (9, 9, 11), "Pendant lamp": (40, 40, 30)}
SIZES |= {"Wall clock": (30, 5, 30), "Oak tree": (200, 200, 420)}
MTL = "newmtl plain\nKd 0.6 0.3 0.2\nnewmtl pictured\nmap_Kd wood.png\nnewmtl leaf\nmap_Kd leaf.png\n"
IMAGES = {"robosuite": "robosuite/models/assets/textures/wall_a.png", "miniworld": "miniworld/textures/floor_b.png"}
IMAGES["metaworld"] = "metaworld/assets/textures/wood_c.png"


def obj_of(rng, cells):
    """A bumpy sheet of three materials, standing, in OBJ."""
    grid = [(x, y, rng.normal(0, 0.2) + x % 2) for y in range(cells + 1) for x in range(cells + 1)]
    lines = ["mtllib made.mtl", *(f"v {x} {z} {y}" for x, y, z in grid)]
    lines += [f"vt {x * 0.7} {y * 1.3}" for x, y, _ in grid]
    for name in ("plain", "pictured", "leaf"):
        lines.append(f"usemtl {name}")
        for y in range(cells):
            for x in range(cells):
                if (x + y) % 3 == ("plain", "pictured", "leaf").index(name):
                    a = y * (cells + 1) + x + 1
                    corners = (a, a + 1, a + cells + 2, a + cells + 1)
                    lines.append("f " + " ".join(f"{c}/{c}" for c in corners))
    return "\n".join(lines)


def picture(rng, side, channels):
    image = cv2.resize(rng.integers(0, 255, (6, 6, channels), dtype=np.uint8), (side, side))
    if channels == 4:
        image[..., 3] = 255 * (np.hypot(*np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]) < 0.9)
    return cv2.imencode(".png", image)[1].tobytes()


def write_packages(source, wheels):
    """Write the archive into the folder `source` and the wheels into `wheels`: five models of each of six roles."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(source / "Scopia.sh3f", "w") as z:
        lines = []
        for number, (name, elevation) in enumerate(PIECES * 5):
            path = f"f{number}/made{number}.obj"
            width, depth, height = SIZES[name]
            lines += [f"name#{number}={name}", f"model#{number}=/{path}", f"creator#{number}=Maker {number}"]
            lines += [f"width#{number}={width}", f"depth#{number}={depth}", f"height#{number}={height}"]
            lines.append(f"elevation#{number}={elevation}")
            z.writestr(path, obj_of(rng, 6 + number))
            z.writestr(f"f{number}/made.mtl", MTL)
            z.writestr(f"f{number}/wood.png", picture(rng, 100, 3))
            z.writestr(f"f{number}/leaf.png", picture(rng, 600, 4))
        z.writestr("PluginFurnitureCatalog.properties", "\n".join(lines))
    for package, path in IMAGES.items():
        with zipfile.ZipFile(wheels / f"{package}-1.0-py3-none-any.whl", "w") as z:
            z.writestr(path, picture(rng, 300, 3))
