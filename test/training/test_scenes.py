# SPDX-License-Identifier: Apache-2.0
"""The renderer, with procedural assets only: needs moderngl and the system's EGL, and says so when they are missing."""

import json
import os

import numpy as np
import pytest

from da3_ros.geometry import unproject_depth
from da3_ros.geometry.poses import invert, transform
from da3_training.records import load_room

os.environ.setdefault("LP_NUM_THREADS", "1")
pytest.importorskip("moderngl")


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    from da3_training.scenes.generate import Studio

    try:
        return Studio(tmp_path_factory.mktemp("cache"), "train", assets=False)
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


def test_unknown_kind_is_refused(studio, tmp_path):
    with pytest.raises(ValueError, match="scene kind"):
        studio.room(tmp_path, seed=0, index=0, kind="moon")
