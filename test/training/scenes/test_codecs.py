# SPDX-License-Identifier: Apache-2.0
"""Meshes and images in few bytes: what comes back, and what is refused."""

from needs import needs

needs("rosbags", "tqdm")

import cv2
import numpy as np
import pytest

from da3_training.scenes.furniture import Geometry
from da3_training.scenes.image_codec import decode_image, encode_image
from da3_training.scenes.mesh_codec import STEPS, decode_mesh, encode_mesh
from da3_training.scenes.sources import open_assets


def test_meshes_come_back_within_half_a_step(cache, opened):
    """Every corner of every triangle: places, directions, texture coordinates; heights of a table to the last bit."""
    library, _ = open_assets("train", cache)
    for model in library.models:
        true, ours = library.geometry(model.key), opened.geometry(model.key)
        assert ours.triangles.shape == true.triangles.shape == (model.triangles, 3)
        a, b = true.positions[true.triangles], ours.positions[ours.triangles]
        step = np.ptp(true.positions, axis=0) / STEPS
        assert (np.abs(a - b) <= 0.5 * step + 1e-7 * np.abs(a)).all()
        assert (a[..., 2] == b[..., 2]).all() == (model.name == "Kitchen table")
        turned = (true.normals[true.triangles] * ours.normals[ours.triangles]).sum(-1)
        assert np.degrees(np.arccos(turned.clip(-1, 1))).max() < 1
        np.testing.assert_array_equal(true.material[true.triangles], ours.material[ours.triangles])
        pictured = true.material[true.triangles] > 0
        error = np.abs(true.uvs[true.triangles] - ours.uvs[ours.triangles])[pictured]
        assert error.max() <= 0.51 * np.ptp(true.uvs[true.material > 0], axis=0).max() / STEPS
        assert (ours.uvs[ours.material == 0] == 0).all()


def test_vertices_of_no_triangle_stay_and_equal_ones_are_one():
    """What stands on a piece is drawn within the bounds of its vertices."""
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [3, 0, 2]], np.float32)
    normals = np.tile(np.array([0, 0, -1], np.float32), (5, 1))
    mesh = Geometry(
        positions,
        normals,
        np.zeros((5, 2), np.float32),
        np.zeros(5, np.int16),
        np.array([[0, 1, 2], [0, 3, 2]], np.int32),
    )
    ours = decode_mesh(encode_mesh(mesh, [], exact_heights=False))
    assert len(ours.positions) == 4
    np.testing.assert_allclose(ours.positions.max(0), [3, 1, 2])
    np.testing.assert_allclose(ours.normals, normals[:4])
    np.testing.assert_allclose(ours.positions[ours.triangles], positions[mesh.triangles], atol=1e-4)


def test_broken_texture_coordinates_do_not_cost_the_others_their_precision():
    uvs = np.array([[0.25, 0.5], [3.4e9, np.nan], [1.0, 0.75]], np.float32)
    zero = np.zeros((3, 3), np.float32)
    mesh = Geometry(np.eye(3, dtype=np.float32), zero, uvs, np.zeros(3, np.int16), np.array([[0, 1, 2]], np.int32))
    ours = decode_mesh(encode_mesh(mesh, [0], exact_heights=False))
    np.testing.assert_allclose(ours.uvs[ours.triangles[0]][[0, 2]], uvs[[0, 2]], atol=1e-5)
    assert np.isfinite(ours.uvs).all()


def test_a_mesh_that_16_bits_cannot_number_is_refused():
    count = STEPS + 2
    positions = np.random.default_rng(0).random((count, 3)).astype(np.float32)
    triangles = np.arange(count - count % 3, dtype=np.int32).reshape(-1, 3)
    mesh = Geometry(positions, positions, np.zeros((count, 2), np.float32), np.zeros(count, np.int16), triangles)
    with pytest.raises(ValueError, match="at most 65536"):
        encode_mesh(mesh, [], exact_heights=False)


def test_smooth_images_are_stored_small_and_sharp_ones_whole():
    rng = np.random.default_rng(1)
    for cells, side in ((4, 64), (512, 512)):
        rgb = cv2.resize(rng.integers(0, 255, (cells, cells, 3), dtype=np.uint8), (512, 512))
        image = np.dstack([rgb, np.full((512, 512), 255, np.uint8)])
        jpeg, mask = encode_image(image)
        assert mask is None
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape[0] == side
        if side == 64:
            assert np.abs(decode_image(jpeg, mask).astype(int) - image).mean() < 3


def test_images_come_back_and_their_masks_to_the_last_bit(cache, opened):
    library, bank = open_assets("train", cache)
    materials = [m for model in library.models for m in model.materials if m.texture]
    assert {m.cutout for m in materials} == {True, False}
    for material in materials[:8]:
        true, ours = library.texture(material.texture), opened.pixels(material.texture)
        np.testing.assert_array_equal(true[..., 3], ours[..., 3])
        assert np.abs(true[..., :3].astype(int) - ours[..., :3]).mean() < 3
    texture = opened.textures[0]
    assert np.abs(bank.store.pixels(texture.file).astype(int) - opened.pixels(texture.file)).mean() < 3
