# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch

from da3_ros.geometry import unproject_depth
from da3_training.records import list_rooms, load_room
from da3_training.samples import RoomSampler, SampleConfig, load_view, mirror_view

SMALL = SampleConfig(
    views_per_batch=6, view_counts=(2,), sizes=((42, 56),), final_sizes=((56, 70),), final_views_per_batch=4
)


def test_batches_follow_from_seed_and_step_alone(rooms):
    a, b = (RoomSampler(rooms, SMALL, 3, 10, 0.2) for _ in range(2))
    torch.testing.assert_close(a[4].images, b[4].images)
    assert not torch.equal(a[4].images, a[5].images)
    assert not torch.equal(a[4].images, RoomSampler(rooms, SMALL, 4, 10, 0.2)[4].images)


def test_sizes_and_token_budget(rooms):
    sampler = RoomSampler(rooms, SMALL, 0, 10, 0.2)
    assert sampler[0].images.shape == (3, 2, 3, 42, 56)
    assert sampler[9].images.shape == (2, 2, 3, 56, 70)


def test_pose_probability_takes_effect(rooms):
    for probability in (0.0, 1.0):
        sampler = RoomSampler(rooms, replace(SMALL, pose_probability=probability), 0, 10, 0.2)
        assert all(sampler[i].posed == bool(probability) for i in range(4))


def test_far_pixels_are_not_supervised(rooms):
    batch = RoomSampler(rooms, replace(SMALL, max_depth=2.0), 0, 10, 0.2)[0]
    assert batch.depth[batch.valid].max() < 2.0
    assert not batch.valid.all()


def test_a_window_keeps_points_where_they_are(rooms):
    view = load_room(list_rooms(rooms)[0])[0].views[0]
    full = unproject_depth(view.depth(), view.intrinsics).reshape(-1, 3)
    _, depth, k, _ = load_view(view, 42, 42, zoom=0.8)
    small = unproject_depth(depth, k).reshape(-1, 3)
    plane = np.linalg.lstsq(full, np.ones(len(full)), rcond=None)[0]
    # The wall is a plane in neither case exactly (depth is linear in pixels), so compare the residuals' sizes.
    assert np.abs(small @ plane - 1).max() <= np.abs(full @ plane - 1).max() * 1.05


def test_mirrored_views_stay_consistent():
    """A point seen in two views is one point after mirroring, too."""
    rng = np.random.default_rng(0)
    k = np.array([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]])
    pose = np.eye(4)
    c, s = np.cos(0.3), np.sin(0.3)
    pose[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    pose[:3, 3] = rng.normal(size=3)
    image, depth = np.zeros((30, 40, 3), np.uint8), rng.uniform(1, 2, (30, 40))

    def world(d, k, pose):
        return unproject_depth(d, k) @ pose[:3, :3].T + pose[:3, 3]

    _, flipped, k2, pose2 = mirror_view(image, depth, k, pose)
    expected = world(depth, k, pose)[:, ::-1] * [-1, 1, 1]
    np.testing.assert_allclose(world(flipped, k2, pose2), expected, atol=1e-9)


def test_no_rooms_says_how_to_make_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"scenes\.generate"):
        list_rooms(tmp_path)


def test_a_broken_image_is_named(rooms):
    room = list_rooms(rooms)[0]
    (room / "v0.jpg").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"v0\.jpg"):
        load_room(room)[0].views[0].image()
