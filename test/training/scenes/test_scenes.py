# SPDX-License-Identifier: Apache-2.0
"""The renderer, with procedural assets only: needs moderngl and the system's EGL, and says so when they are missing."""

from needs import needs

needs("moderngl")

import json
import os

import numpy as np
import pytest

from da3_ros.geometry import unproject_depth
from da3_ros.geometry.poses import invert, transform
from da3_training.data.records import load_room

os.environ.setdefault("LP_NUM_THREADS", "1")
from da3_training.scenes.cameras import pose_of


@pytest.fixture(scope="module")
def studio(procedural):
    from da3_training.scenes.generate import Studio

    try:
        return Studio(*procedural, "train")
    except Exception as error:  # moderngl raises a bare Exception without EGL
        pytest.skip(f"no EGL renderer ({error}): apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri")


@pytest.fixture(scope="module")
def room(studio, tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    studio.room(folder, seed=0, index=0, clusters=2, views=2, kind="room")
    return folder


def test_a_room_has_everything(room):
    clusters = load_room(room)
    assert [len(c.views) for c in clusters] == [2, 2]
    for cluster in clusters:
        for view in cluster.views:
            image, depth = view.image(), view.depth()
            assert image.shape[:2] == depth.shape
            assert 0.3 < np.median(depth[depth > 0]) < 12
            assert image.std() > 5
            np.testing.assert_allclose(view.intrinsics[:2, 2], [(depth.shape[1] - 1) / 2, (depth.shape[0] - 1) / 2])
            np.testing.assert_allclose(view.pose[:3, :3] @ view.pose[:3, :3].T, np.eye(3), atol=1e-6)


def test_depth_of_one_view_agrees_with_the_other(room):
    """Points of one view, seen from the other, lie on its surface unless something hides them."""
    agreeing = []
    for cluster in load_room(room):
        a, b = cluster.views
        points = unproject_depth(a.depth(), a.intrinsics).reshape(-1, 3)
        points = points[points[:, 2] > 0]
        local = transform(invert(b.pose) @ a.pose, points)
        local = local[local[:, 2] > 0.1]
        u, v = (
            np.rint(b.intrinsics[i, i] * local[:, i] / local[:, 2] + b.intrinsics[i, 2]).astype(int) for i in (0, 1)
        )
        depth = b.depth()
        inside = (u >= 0) & (u < depth.shape[1]) & (v >= 0) & (v < depth.shape[0])
        seen, expected = depth[v[inside], u[inside]], local[inside, 2]
        visible = (seen > 0) & (seen > 0.97 * expected)
        agreeing.append(np.abs(seen[visible] / expected[visible] - 1))
    assert np.median(np.concatenate(agreeing)) < 0.01


def test_the_same_seed_gives_the_same_room(studio, room, tmp_path):
    studio.room(tmp_path, seed=0, index=0, clusters=2, views=2, kind="room")
    assert json.loads((tmp_path / "scene.json").read_text()) == json.loads((room / "scene.json").read_text())


def test_a_studio_refuses_textures_of_another_split(studio):
    with pytest.raises(ValueError, match="open those of 'heldout'"):
        type(studio)(studio.library, studio.bank, "heldout")


def test_unknown_kind_is_refused(studio, tmp_path):
    with pytest.raises(ValueError, match="scene kind"):
        studio.room(tmp_path, seed=0, index=0, kind="moon")


def test_normals_are_those_of_the_surface(studio):
    """Against finite differences of the depth, where it is smooth; a wall is flat to the last bit."""
    from da3_training.scenes.cameras import intrinsics
    from da3_training.scenes.room import make_scene

    scene = make_scene(studio.library, studio.bank, np.random.default_rng(3), "room")
    studio.renderer.load(scene.mesh, studio.pixels(scene.own_textures), scene.lighting, (scene.lo, scene.hi))
    pose = pose_of((scene.lo + scene.hi) / 2, 0.4, -0.2, 0.0)
    k = intrinsics(160, 120, 1.2)
    _, depth = studio.renderer.render(k, pose, 160, 120)
    normals = studio.renderer.normals(k, pose, 160, 120)
    known = depth > 0
    np.testing.assert_allclose(np.linalg.norm(normals[known], axis=-1), 1, atol=1e-3)
    assert (normals[~known] == 0).all()
    points = unproject_depth(np.where(known, depth, np.nan), k)
    assert ((normals * points).sum(-1)[known] < 1e-3).all()  # towards the camera
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    ours = np.cross(down, across)
    ours /= np.linalg.norm(ours, axis=-1, keepdims=True)
    error = np.degrees(np.arccos(np.abs((ours * normals[1:-1, 1:-1]).sum(-1)).clip(-1, 1)))
    assert np.nanmedian(error) < 0.5


def test_sky_is_known(studio, tmp_path):
    studio.room(tmp_path / "room", seed=5, index=1, clusters=1, views=3, kind="open")
    records = [view.load() for view in load_room(tmp_path / "room")[0].views]
    assert any(record.sky.any() for record in records)
    assert not any((record.valid & record.sky).any() for record in records)
    assert all((record.valid | record.sky).mean() > 0.97 for record in records)


def test_depth_too_far_for_16_bits_is_unknown_and_not_sky(tmp_path):
    from da3_training.data.codecs import read_depth
    from da3_training.scenes.generate import write_depth

    write_depth(tmp_path / "d.png", np.array([[0.0, 1.5, 80.0]], np.float32))
    depth = read_depth(tmp_path / "d.png", "png_mm", np.eye(3), {})
    np.testing.assert_array_equal(depth, np.array([[0, 1.5, np.nan]], np.float32))


def test_cameras_are_drawn_from_all_kinds_and_fields_of_view(studio, tmp_path):
    kinds, widths = set(), []
    for index in range(4):
        studio.room(tmp_path / str(index), seed=11, index=index, clusters=3, views=1)
        scene = json.loads((tmp_path / str(index) / "scene.json").read_text())
        for cluster in scene["clusters"]:
            kinds.add(cluster["kind"])
            f = cluster["views"][0]["K"][0][0]
            widths.append(np.degrees(2 * np.arctan(scene["width"] / 2 / f)))
    assert len(kinds & {"walk", "stereo", "wide", "rig"}) >= 3
    assert min(widths) > 38
    assert max(widths) < 112
    assert max(widths) - min(widths) > 25


def test_cameras_of_one_kind_alone(studio, tmp_path):
    studio.room(tmp_path, seed=11, index=0, clusters=3, views=4, only="rig")
    scene = json.loads((tmp_path / "scene.json").read_text())
    assert [cluster["kind"] for cluster in scene["clusters"]] == ["rig"] * 3
    for cluster in scene["clusters"]:
        first, last = (np.array(cluster["views"][i]["T_world_camera"]) for i in (0, 3))
        assert first[:3, 2] @ last[:3, 2] < np.cos(np.radians(45))  # three gaps of two fifths of 40 degrees and more


def test_the_command_renders_rooms_and_goes_on(studio, few, tmp_path, capfd):
    """With workers of its own, normal maps too; a second run finds them done."""
    from da3_training.scenes.generate import main

    options = ["--out", str(tmp_path / "rooms"), "--cache", str(tmp_path / "cache"), "--assets", "none", "--rooms", "1"]
    options += ["--clusters", "1", "--views", "2", "--normals", "--kind", "fitted", "--cameras", "wide"]
    main(options)
    [folder] = (tmp_path / "rooms").iterdir()
    scene = json.loads((folder / "scene.json").read_text())
    assert (scene["scene"], [cluster["kind"] for cluster in scene["clusters"]]) == ("fitted", ["wide"])
    assert len(load_room(folder)[0].views) == 2
    assert len(list(folder.glob("*.normal.png"))) == 2
    written = (folder / "scene.json").stat().st_mtime_ns
    main(options)
    assert (folder / "scene.json").stat().st_mtime_ns == written
