# SPDX-License-Identifier: Apache-2.0
"""Meshes in metres with z up, and the colours and textures they are meant to have."""

from needs import needs

needs("collada")

import cv2
import numpy as np
import pytest
import trimesh
from made_worlds import INCLUDE, collada, write_model

from da3_training.scenes.worlds.sdf import read_world
from da3_training.scenes.worlds.surfaces import Surfaces

SCRIPT = "<material><script><uri>model://{0}/materials/scripts</uri><name>Mine/Red</name></script></material>"


def surfaces_of(tmp_path, models, name):
    path = tmp_path / "one.world"
    include = INCLUDE.format(name=name, pose="0 0 0 0 0 0")
    path.write_text(f"<sdf><world name='w'>{include}</world></sdf>")
    return Surfaces(read_world(path, [models]))


def extent(surfaces):
    corners = np.concatenate([s.corners for s in surfaces.all])
    return np.round([corners.min(0), corners.max(0)], 6).tolist()


def picture(path, bgr):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 8, len(bgr)), bgr, np.uint8))


def test_a_file_in_centimetres_with_y_up_stands_as_large_as_it_is(tmp_path, models):
    found = surfaces_of(tmp_path, models, "cabinet")
    assert extent(found) == [[-0.4, -0.25, 0.0], [0.4, 0.25, 1.0]]
    corners, normals = found.all[0].corners, found.all[0].normals
    np.testing.assert_allclose(np.abs(normals).max(1), 1, atol=1e-6)  # a box: no corner is rounded off
    middle = corners.reshape(-1, 3, 3).mean(1).repeat(3, 0) - [0, 0, 0.5]
    assert ((middle * normals).sum(1) > 0.2).all(), "outwards"


def test_its_scale_and_place_are_those_of_the_world(tmp_path, models):
    box = trimesh.creation.box((1, 1, 1))
    meshes = write_model(models, "crate", "crate.stl", "<pose>1 0 0 0 0 0</pose>", "<scale>2 1 0.5</scale>")
    box.export(meshes / "crate.stl")
    assert extent(surfaces_of(tmp_path, models, "crate")) == [[0, -0.5, -0.25], [2, 0.5, 0.25]]


def test_a_moved_texture_is_found_by_its_name(tmp_path, models):
    meshes = write_model(models, "drawer", "drawer.dae")
    (meshes / "drawer.dae").write_text(collada(trimesh.creation.box((1, 1, 1)), "C:\\work\\Oak.PNG"))
    assert surfaces_of(tmp_path, models, "drawer").all[0].texture is None
    picture(models / "drawer" / "materials" / "textures" / "oak.png", (10, 20, 200))
    found = surfaces_of(tmp_path, models, "drawer")
    assert found.images[found.all[0].texture][5, 5].tolist() == [200, 20, 10, 255]
    assert not found.all[0].cutout


def test_scripts_maps_and_colours_of_the_description(tmp_path, models):
    box = trimesh.creation.box((1, 1, 1))
    materials = {
        "script": SCRIPT.format("script"),
        "map": "<material><pbr><metal><albedo_map>model://map/a.png</albedo_map></metal></pbr></material>",
        "colour": "<material><diffuse>red</diffuse><ambient>0.2 0.4 0.6 1</ambient></material>",
    }
    for name, material in materials.items():
        box.export(write_model(models, name, "box.stl", material=material) / "box.stl")
    scripts = models / "script" / "materials" / "scripts"
    scripts.mkdir(parents=True)
    scripts.joinpath("some.material").write_text(
        "material Mine/Blue\n{\n texture_unit\n {\n  texture blue.png\n }\n}\n"
        "material Mine/Red : Mine/Blue\n{\n texture_unit\n {\n  texture red.png\n }\n}\n"
    )
    picture(models / "script" / "materials" / "textures" / "blue.png", (200, 0, 0))
    picture(models / "script" / "materials" / "textures" / "red.png", (0, 0, 200, 0))
    picture(models / "map" / "textures" / "a.png", (0, 200, 0))
    script, albedo, colour = (surfaces_of(tmp_path, models, name) for name in materials)
    assert script.images[script.all[0].texture][0, 0, :3].tolist() == [200, 0, 0]
    assert script.all[0].cutout, "nothing of it is opaque"
    assert albedo.images[albedo.all[0].texture][0, 0].tolist() == [0, 200, 0, 255]
    (models / "map" / "textures" / "a.png").write_bytes(b"no image")
    broken = surfaces_of(tmp_path, models, "map")
    assert (broken.all[0].texture, len(broken.all)) == (None, 1)
    assert "a.png cannot be read" in broken.notes[0]
    assert colour.all[0].texture is None
    assert colour.all[0].colour == (0.2, 0.4, 0.6)


@pytest.mark.parametrize(("part", "high"), [("", 2.0), ("leaf", 2.0), ("trunk", 1.0)])
def test_a_part_of_a_mesh_alone(tmp_path, models, part, high):
    more = f"<submesh><name>{part}</name></submesh>" if part else ""
    meshes = write_model(models, "tree", "tree.glb", more=more)
    trunk, leaf = trimesh.creation.box((0.2, 0.2, 1)), trimesh.creation.box((1, 1, 1))
    trunk.apply_translation((0, 0, 0.5))
    leaf.apply_translation((0, 0, 1.5))
    scene = trimesh.Scene()
    scene.add_geometry(trunk, geom_name="trunk")
    scene.add_geometry(leaf, geom_name="leaf")
    scene.export(meshes / "tree.glb")
    lo, hi = extent(surfaces_of(tmp_path, models, "tree"))
    assert hi[2] == high
    assert lo[2] == (1.0 if part == "leaf" else 0.0)


def test_a_broken_mesh_is_said_and_the_rest_is_there(tmp_path, models, world_file):
    whole = Surfaces(read_world(world_file, [models]))
    (models / "cabinet" / "meshes" / "cabinet.dae").write_text("<COLLADA")
    rest = Surfaces(read_world(world_file, [models]))
    assert len(whole.all) - len(rest.all) == 3
    assert len(rest.notes) == len(whole.notes) + 1
    assert "cabinet.dae cannot be read" in rest.notes[-1]
