# SPDX-License-Identifier: Apache-2.0
"""Gaussians from PLY files: ours, and those of other programs."""

import logging

import numpy as np
import pytest
from made_gaussians import some_gaussians

from da3_ros.files.gaussians import read_gaussian_ply, write_gaussian_ply

NAMES = ("x", "y", "z", *(f"f_dc_{i}" for i in range(3)), "opacity", *(f"scale_{i}" for i in range(3)))
NAMES = (*NAMES, *(f"rot_{i}" for i in range(4)))


def ply(path, columns, *, order="little", types=None, before="", data=b""):
    """A PLY file with these columns, by name; `before` and `data`: another element that comes first."""
    types = types or {}
    count = len(next(iter(columns.values())))
    sign = {"little": "<", "big": ">"}[order]
    kinds = {"float": "f4", "double": "f8", "uchar": "u1", "int": "i4"}
    names = {name: types.get(name, "float") for name in columns}
    table = np.empty(count, [(name, sign + kinds[kind]) for name, kind in names.items()])
    for name, values in columns.items():
        table[name] = values
    header = f"ply\nformat binary_{order}_endian 1.0\ncomment a comment\n{before}element vertex {count}\n"
    header += "".join(f"property {kind} {name}\n" for name, kind in names.items()) + "end_header\n"
    path.write_bytes(header.encode() + data + table.tobytes())
    return path


def columns(count=3, rest=0):
    rng = np.random.default_rng(count)
    return {name: rng.normal(size=count) for name in (*NAMES, *(f"f_rest_{i}" for i in range(rest)))}


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_what_is_written_is_read(tmp_path, degree):
    gaussians = some_gaussians(degree, 30, degree)
    write_gaussian_ply(tmp_path / "a.ply", gaussians)
    found = read_gaussian_ply(tmp_path / "a.ply")
    for name, values in vars(gaussians).items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=2e-5, atol=2e-6, err_msg=name)
        assert getattr(found, name).dtype == np.float32


@pytest.mark.parametrize("order", ["little", "big"])
def test_properties_go_by_their_names(tmp_path, order):
    given = columns(5, rest=9)
    mixed = dict(reversed(given.items())) | {"red": np.arange(5)}
    types = {"red": "uchar", "x": "double", "f_rest_4": "double"}
    before = "element thing 2\nproperty int a\nproperty uchar b\n"
    path = ply(tmp_path / "a.ply", mixed, order=order, types=types, before=before, data=bytes(10))
    found = read_gaussian_ply(path)
    np.testing.assert_allclose(found.means, np.stack([given[n] for n in "xyz"], axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.scales[:, 1], np.exp(given["scale_1"]), rtol=1e-6)
    np.testing.assert_allclose(found.opacities, 1 / (1 + np.exp(-given["opacity"])), rtol=1e-6)
    rotation = np.stack([given[f"rot_{i}"] for i in range(4)], axis=1)
    np.testing.assert_allclose(found.rotations, rotation / np.linalg.norm(rotation, axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(found.harmonics[:, 2, 0], given["f_dc_2"], rtol=1e-6)
    # Red's three, then green's, then blue's.
    np.testing.assert_allclose(found.harmonics[:, 1, 1:], np.stack([given[f"f_rest_{i}"] for i in (3, 4, 5)], axis=1))


def test_another_reader_agrees(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    gaussians = some_gaussians(1, 30, 1)
    write_gaussian_ply(tmp_path / "a.ply", gaussians)
    vertex = trimesh.load(tmp_path / "a.ply").metadata["_ply_raw"]["vertex"]["data"]
    found = read_gaussian_ply(tmp_path / "a.ply")
    np.testing.assert_allclose(vertex["opacity"], np.log(found.opacities / (1 - found.opacities)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(vertex["f_rest_4"], found.harmonics[:, 1, 2], rtol=1e-6)


def test_no_gaussians_are_none(tmp_path):
    assert len(read_gaussian_ply(ply(tmp_path / "a.ply", columns(0))).means) == 0


def test_gaussians_that_are_none_are_left_out_aloud(tmp_path, caplog):
    given = columns(6)
    given["x"][0], given["scale_1"][1], given["f_dc_0"][2], given["opacity"][3] = np.nan, 1e3, np.inf, np.nan
    for i in range(4):
        given[f"rot_{i}"][4] = 0
    with caplog.at_level(logging.WARNING):
        found = read_gaussian_ply(ply(tmp_path / "a.ply", given))
    assert found.means[:, 1].tolist() == [np.float32(given["y"][5])]
    assert "5 of 6 Gaussians are left out" in caplog.text


def test_extreme_opacities_are_opacities(tmp_path):
    given = columns(2)
    given["opacity"][:] = -1e30, 1e30
    assert read_gaussian_ply(ply(tmp_path / "a.ply", given)).opacities.tolist() == [0, 1]


def without(name):
    return {key: value for key, value in columns().items() if key != name}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (without("opacity"), r"lack opacity \(they have x, y, z"),
        ({name: np.zeros(2) for name in ("x", "y", "z")}, "has no Gaussians: its points lack f_dc_0"),
        (columns(rest=10), "10 properties f_rest_.*degree 0 to 3: 0, 9, 24, 45"),
        (columns() | {f"f_rest_{i}": np.zeros(3) for i in range(1, 10)}, r"allowed are f_rest_0, 1, 2"),
    ],
    ids=["opacity", "cloud", "too many", "from 1"],
)
def test_what_lacks_something_says_what(tmp_path, given, words):
    with pytest.raises(ValueError, match=words):
        read_gaussian_ply(ply(tmp_path / "a.ply", given))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no PLY file"),
        (b"\x89PNG\r\n\x1a\n", "is no PLY file"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "format ascii.*convert it"),
        (b"ply\nformat binary_little_endian 1.0\nelement vertex 1\n", "cut off within its header"),
        (b"ply\nelement vertex 1\nproperty float x\nend_header\n", "names no format"),
        (b"ply\nformat binary_little_endian 1.0\nelement vertex many\nend_header\n", "is no PLY"),
        (b"ply\nformat binary_little_endian 1.0\nelement vertex -1\nend_header\n", "is no PLY"),
        (b"ply\nformat binary_little_endian 1.0\nproperty float x\nend_header\n", "is no PLY"),
        (b"ply\nformat binary_little_endian 1.0\nelement face 0\nproperty float x\nend_header\n", "has no points"),
        (
            b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty list uchar int x\nend_header\n",
            "property `list uchar int x`",
        ),
        (b"ply\nformat binary_little_endian 1.0\nelement vertex 2\nproperty float x\nend_header\nabcd", "is cut off"),
        (
            b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty int x\nend_header\n",
            "element vertex",
        ),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, content, words):
    path = tmp_path / "a.ply"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_gaussian_ply(path)
    assert str(path) in str(caught.value)
