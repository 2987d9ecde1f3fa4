# SPDX-License-Identifier: Apache-2.0
"""Parts of a world as scenes, and rooms rendered of them."""

from needs import needs

needs("collada")
needs("moderngl")

import json

import numpy as np
import pytest

from da3_training import cli
from da3_training.data.records import load_room
from da3_training.scenes.cameras import candidates
from da3_training.scenes.worlds.sdf import WorldError
from da3_training.scenes.worlds.world import World


@pytest.fixture
def world(world_file, models):
    return World(world_file, [models], ceiling=2.5)


def test_walls_and_boxes_of_a_scene_agree_however_it_is_turned(world, procedural):
    _, bank = procedural
    widths, mirrored = set(), set[bool]()
    for seed in range(12):
        scene = world.scene(bank, np.random.default_rng(seed))
        positions = scene.mesh.vertices["position"][scene.mesh.opaque].reshape(-1, 3)
        near = positions[np.abs(positions).max(1) < 20]
        for kind, poses in candidates(scene, np.random.default_rng(seed), 4, 1.2, lambda pose: True):
            for T in poses:
                assert (T[:3, 3] > near.min(0)).all(), kind
                assert (T[:3, 3] < near.max(0)).all(), kind
        middles = scene.solids.mean(1)
        of_walls = middles[
            (middles[:, 2] > 1.3) & (middles[:, 2] < 2) & ((scene.solids[:, 1] - scene.solids[:, 0]).max(1) < 0.2)
        ]
        assert len(of_walls) > 20, "voxels above the cabinets are those of walls"
        scale = near[:, 2].max() / 2.5
        sides = np.sort(np.ptp(near[:, :2], axis=0) / scale)
        np.testing.assert_allclose(sides, [8.4, 9.4], atol=0.05)  # of the ceiling over everything
        lo, hi = near.min(0)[:2] / scale + 2, near.max(0)[:2] / scale - 2  # of the walls, outside
        to_wall = np.minimum(np.abs(of_walls[:, :2] / scale - lo), np.abs(hi - of_walls[:, :2] / scale)).min(1)
        assert to_wall.max() < 0.4, "and there the walls are"
        widths.add(round(float(scale), 3))
        cabinet = scene.solids[(middles[:, 2] < 0.9 * scale)]
        inside = cabinet[(np.abs(middles[middles[:, 2] < 0.9 * scale][:, :2] / scale - [2, 2.5]) < [1.8, 2.3]).all(1)]
        mirrored.add(bool(np.median(inside.mean(1)[:, 0]) / scale > 2))
    assert mirrored == {True, False}, "most of what stands there is on the left, or on the right"
    assert len(widths) > 9
    assert 0.88 <= min(widths) < max(widths) <= 1.12


def test_a_ground_plane_has_no_end_and_is_not_a_place(world_file, models, procedural):
    plane = "<geometry><plane><size>1 1</size></plane></geometry>"
    ground = f"<model name='g'><link name='l'><visual name='v'>{plane}</visual></link></model>"
    world_file.write_text(world_file.read_text().replace("<world name='w'>", f"<world name='w'>{ground}"))
    world = World(world_file, [models])
    assert ((world.places < -0.3) | (world.places > [4.3, 5.3])).any(), "cameras stand around the house as well"
    (plane_model,) = [m for m in world.models if any(s.endless for s in m.surfaces)]
    np.testing.assert_allclose([plane_model.lo, plane_model.hi], [[-2.2, -2.2, 0], [6.2, 7.2, 0]], atol=1e-6)


def test_things_come_and_go_and_are_painted(world, procedural):
    _, bank = procedural
    scenes = [world.scene(bank, np.random.default_rng(seed)) for seed in range(12)]
    assert len({len(s.mesh.opaque) for s in scenes}) > 1
    assert any(s.names for s in scenes)
    assert all(len(s.focus) >= 3 for s in scenes)


def test_what_nothing_can_be_rendered_in_is_refused(world_file, models, tmp_path):
    lamp = "<include><uri>model://lamp</uri></include>"
    (tmp_path / "empty.world").write_text(f"<sdf><world name='w'>{lamp}</world></sdf>")
    with pytest.raises(WorldError, match=r"lamp.*--models"):
        World(tmp_path / "empty.world")
    text = world_file.read_text().replace("2 2.5 -0.05 0 0 0", "2 2.5 0.45 0 0 0")
    world_file.write_text(text)
    with pytest.raises(WorldError, match="floor at z = 0"):
        World(world_file, [models])


def command(world_file, models, out, *more):
    made = ["scenes", "--out", str(out), "--rooms", "2", "--seed", "3", "--clusters", "3", "--views", "2"]
    cli.main([*made, "--assets", "none", "--world", str(world_file), "--models", str(models), *more])


def test_rooms_of_a_world_are_read_like_others(world_file, models, tmp_path, egl, scene_cache):
    sky = []
    for ceiling in ([], ["--ceiling", "2.5"]):
        out = tmp_path / f"rooms_{len(ceiling)}"
        command(world_file, models, out, "--cache", str(scene_cache), *ceiling)
        folders = sorted(out.iterdir())
        assert {json.loads((folder / "scene.json").read_text())["scene"] for folder in folders} == {"room"}
        views = [view for folder in folders for cluster in load_room(folder) for view in cluster.views]
        depth = [view.depth() for view in views]
        assert all(d.max() < 1.12 * 7 for d in depth), "no wall is farther than the room is long"
        assert all(view.image().std() > 5 for view in views)
        sky.append(np.mean([(d == 0).mean() for d in depth]))
    assert sky[0] > 0.02
    assert sky[1] < 0.001


def test_the_command_says_what_is_missing(world_file, models, tmp_path, scene_cache, capsys):
    world_file.write_text("<sdf><world name='w'/></sdf>")
    with pytest.raises(SystemExit, match="shows nothing"):
        command(world_file, models, tmp_path / "out", "--cache", str(scene_cache))
    for more in (["--models", "x"], ["--ceiling", "2"], ["--world", "w", "--kind", "room"]):
        with pytest.raises(SystemExit):
            cli.main(["scenes", "--out", str(tmp_path / "out"), "--rooms", "1", *more])
        assert "--world" in capsys.readouterr().err
