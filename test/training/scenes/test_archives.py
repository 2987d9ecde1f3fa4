# SPDX-License-Identifier: Apache-2.0
"""Furniture out of an archive: a made-up one with a table of two materials, one of them a picture."""

import zipfile
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from da3_training.scenes import assets
from da3_training.scenes.archives import parse_archive, read_catalogue
from da3_training.scenes.assets import Library
from da3_training.scenes.obj_files import parse_mtl, parse_obj
from da3_training.scenes.roles import role_of

CATALOGUE = """
name#1=Kitchen table
model#1=/tables/table.obj
width#1=120
depth#1=60
height#1=75
name#2=Parking sign
model#2=/tables/table.obj
width#2=1
depth#2=1
height#2=1
name#3=Nothing
model#3=/tables/missing.obj
width#3=1
depth#3=1
height#3=1
"""
OBJ = """mtllib table.mtl
v 0 0 0
v 2 0 0
v 2 1 0
v 0 1 0
v 2 1 3
vt 0 0
vt 1 0
vt 1 1
usemtl painted
f 1/1 2/2 3/3 4/1
usemtl pictured
f -3 -2 -1
"""
MTL = """newmtl painted
Kd 0.1 0.2 0.3
Ks 0.5 0.5 0.8
newmtl pictured
d 0.9
map_Kd -o 0 top.png
map_Kd Top.PNG
"""


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "Made.sh3f"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("PluginFurnitureCatalog.properties", CATALOGUE)
        z.writestr("tables/table.obj", OBJ)
        z.writestr("tables/table.mtl", MTL)
        z.writestr("tables/top.png", cv2.imencode(".png", np.full((4, 4, 3), 200, np.uint8))[1].tobytes())
    return path


def test_the_catalogue_is_read_in_order(archive):
    assert [entry["name"] for entry in read_catalogue(archive)] == ["Kitchen table", "Parking sign", "Nothing"]


def test_polygons_become_triangles_and_absent_numbers_are_minus_one():
    positions, uvs, normals, corners, names, libraries = parse_obj(OBJ)
    assert (positions.shape, uvs.shape, normals.shape) == ((5, 3), (3, 2), (0, 3))
    assert names == ["painted", "pictured"]
    assert libraries == ["table.mtl"]
    np.testing.assert_array_equal(corners[:, :, 0], [[0, 1, 2], [0, 2, 3], [2, 3, 4]])
    np.testing.assert_array_equal(corners[:, :, 1], [[0, 1, 2], [0, 2, 0], [-1, -1, -1]])
    assert (corners[:, :, 2] == -1).all()
    np.testing.assert_array_equal(corners[:, 0, 3], [0, 0, 1])


def test_materials_have_what_their_file_says():
    found = parse_mtl(MTL, "tables", {"tables/top.png": "tables/top.png"})
    assert found["painted"] == {"kd": [0.1, 0.2, 0.3], "ks": pytest.approx(0.6)}
    assert found["pictured"] == {"alpha": 0.9, "map": "tables/top.png"}


def test_a_model_has_its_real_size_and_stands_on_the_floor(archive, tmp_path):
    for folder in ("models", "textures"):
        (tmp_path / "cache" / folder).mkdir(parents=True)
    [record] = parse_archive(archive, tmp_path / "cache")  # a sign and a missing model are left out
    assert record["key"] == "Made/tables/table"
    assert record["size"] == pytest.approx((1.2, 0.6, 0.75))
    assert [m["texture"] is None for m in record["materials"]] == [True, False]
    geometry = np.load(tmp_path / "cache" / "models" / "Made__tables__table.npz")
    low, high = geometry["positions"].min(0), geometry["positions"].max(0)
    np.testing.assert_allclose(low, [-0.6, -0.3, 0], atol=1e-6)
    np.testing.assert_allclose(high, [0.6, 0.3, 0.75], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(geometry["normals"], axis=1), 1, atol=1e-5)


def test_a_library_is_parsed_once(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "ProcessPoolExecutor", ThreadPoolExecutor)  # the tests have threads: no fork
    cache = tmp_path / "cache"
    [model] = Library.load(cache, archive.parent).models
    archive.unlink()
    library = Library.load(cache, archive.parent)
    assert library.models == [model]
    assert role_of(model) == "floor"
    assert library.of(model.split) == [model]
    assert library.geometry(model.key).triangles.shape == (3, 3)
    assert library.texture(model.materials[1].texture).shape == (512, 512, 4)


def test_an_empty_library_has_no_files(tmp_path):
    library = Library.load(tmp_path / "cache", tmp_path)
    assert library.models == []
    with pytest.raises(FileNotFoundError, match="empty library"):
        library.geometry("any")
