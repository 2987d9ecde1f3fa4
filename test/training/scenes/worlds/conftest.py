# SPDX-License-Identifier: Apache-2.0
"""A small world as makers of worlds leave them: centimetres and y up, textures moved, no ceiling, something missing."""

import cv2
import numpy as np
import pytest
from made_worlds import INCLUDE, WALL, collada, write_model


@pytest.fixture
def models(tmp_path):
    """Folder of models: a cabinet of 0.8 x 0.5 x 1 metres whose texture lies elsewhere than its mesh says."""
    import trimesh

    folder = tmp_path / "elsewhere" / "models"
    box = trimesh.creation.box((0.8, 0.5, 1.0))
    box.apply_translation((0, 0, 0.5))
    meshes = write_model(folder, "cabinet", "Cabinet.DAE")
    (meshes / "cabinet.dae").write_text(collada(box, "C:\\work\\wood.png"))
    textures = folder / "cabinet" / "materials" / "textures"
    textures.mkdir(parents=True)
    cv2.imwrite(str(textures / "Wood.png"), np.full((8, 8, 3), (10, 20, 200), np.uint8))
    return folder


@pytest.fixture
def world_file(tmp_path, models):
    """A room of 4 by 5 metres with a floor, without a ceiling, three cabinets and a lamp that is not there."""
    long, wide = "0.2 5.4 2.5", "4.4 0.2 2.5"
    walls = [("-0.1 2.5 1.25", long), ("4.1 2.5 1.25", long), ("2 -0.1 1.25", wide), ("2 5.1 1.25", wide)]
    parts = [WALL.format(n=n, pose=f"{pose} 0 0 0", size=size) for n, (pose, size) in enumerate(walls)]
    floor = WALL.format(n="floor", pose="2 2.5 -0.05 0 0 0", size="4 5 0.1")
    places = ["0.6 0.4 0 0 0 0", "3.2 4 0 0 0 1.5707963", "1 4.5 0 0 0 0"]
    cabinets = [INCLUDE.format(name="cabinet", pose=p) for p in places]
    missing = INCLUDE.format(name="lamp", pose="0 0 0 0 0 0")
    path = tmp_path / "place" / "worlds" / "room.world"
    path.parent.mkdir(parents=True)
    content = "".join([*parts, floor, *cabinets, missing])
    path.write_text(f"<sdf version='1.6'><world name='w'>{content}</world></sdf>")
    return path
