# SPDX-License-Identifier: Apache-2.0
"""Scenes as they are drawn, before a picture of them is made: counts, roles, and the sky only where it is seen."""

from needs import needs

needs("moderngl")

import numpy as np
import pytest

from da3_training.scenes.mesh import Builder, Look, pose2d
from da3_training.scenes.roles import role_of
from da3_training.scenes.room import KINDS, make_scene
from da3_training.scenes.sources import open_assets


def test_triangles_are_counted_as_they_come():
    builder = Builder()
    assert builder.triangle_count == 0
    builder.box([0, 0, 0], [1, 2, 3], Look())
    builder.sphere(0.5, Look(cutout=True), pose2d(1, 2, 3, 0.5))
    builder.sky(Look((1, 1, 1), "sky", 254))
    mesh = builder.build()
    assert builder.triangle_count == len(mesh.opaque) + len(mesh.cutout) + len(mesh.sky) > 100
    assert min(len(mesh.opaque), len(mesh.cutout), len(mesh.sky)) > 0


def test_the_normal_of_a_quad_is_that_of_its_edges():
    rng = np.random.default_rng(0)
    for _ in range(20):
        u, v = rng.normal(size=(2, 3)).astype(np.float32)
        builder = Builder()
        builder.quad(rng.normal(size=3), u, v, Look())
        true = np.cross(u, v)
        np.testing.assert_allclose(builder.build().vertices["normal"], [true / np.linalg.norm(true)] * 4, atol=1e-6)


def test_a_library_knows_its_models_by_role(cache):
    library, _ = open_assets("train", cache)
    for split in ("train", "heldout"):
        found = library.by_role(split)
        assert {role: [m for m in library.of(split) if role_of(m) == role] for role in found} == found
        assert sum(len(models) for models in found.values()) == len(library.of(split)) > 0
        assert library.by_role(split) is found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_sky_is_painted_where_it_is_seen(cache, kind):
    assets = open_assets("train", cache)
    seen = set()
    for seed in range(12):
        scene = make_scene(*assets, np.random.default_rng(seed), kind)
        seen.add(len(scene.mesh.sky) > 0)
        assert ("sky" in scene.own_textures) == ("sky" in scene.mesh.textures) == (len(scene.mesh.sky) > 0)
        for image in scene.own_textures.values():
            assert (image.shape, image.dtype) == ((512, 512, 4), np.uint8)
            assert image[:60].mean() != image[-60:].mean()
    assert seen == {"warehouse": {False}, "open": {True}}.get(kind, {False, True})
