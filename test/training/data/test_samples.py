# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from developed import Sampler

from da3_ros.geometry import unproject_depth
from da3_ros.geometry.poses import rotation_angle
from da3_training.data.records import BrokenSampleError, Record, load_room
from da3_training.data.samples import SampleConfig, draw
from da3_training.data.view_sampling import choose_views, image_sizes, nearest, overlap_of, views_of
from da3_training.data.window import mirror, window
from da3_training.datasets.registry import SceneSet

SMALL = SampleConfig(views_per_batch=6, view_counts=(2,), sizes=((42, 56),))


@pytest.fixture
def scenes(rooms):
    return SceneSet("rooms", rooms)


def test_batches_follow_from_seed_and_step_alone(scenes):
    a, b = (Sampler([scenes], SMALL, 3) for _ in range(2))
    torch.testing.assert_close(a[4].images, b[4].images)
    assert not torch.equal(a[4].images, a[5].images)
    assert not torch.equal(a[4].images, Sampler([scenes], SMALL, 4)[4].images)


def test_two_processes_share_out_the_batch_of_one(scenes):
    one = Sampler([scenes], replace(SMALL, views_per_batch=12), 3)[7]
    halves = [Sampler([scenes], SMALL, 3, rank=rank, world=2)[7] for rank in (0, 1)]
    for name in ("images", "depth", "pose", "intrinsics"):
        torch.testing.assert_close(getattr(one, name), torch.cat([getattr(h, name) for h in halves]))


def test_sizes_and_token_budget(scenes):
    assert Sampler([scenes], SMALL, 0)[0].images.shape == (3, 2, 3, 42, 56)
    more = replace(SMALL, view_counts=(3,))
    assert Sampler([scenes], more, 0)[0].images.shape == (2, 3, 3, 42, 56)


def test_all_aspects_have_about_as_many_tokens():
    sizes = image_sizes(504)
    tokens = [h * w / 196 for h, w in sizes]
    assert (504, 504) in sizes
    assert all(h % 14 == 0 and w % 14 == 0 for h, w in sizes)
    assert min(tokens) > 0.95 * 1296
    assert max(tokens) <= 1296


def test_numbers_of_views_are_a_list_or_a_range():
    rng = np.random.default_rng(0)
    assert {views_of(rng, (2, 18)) for _ in range(500)} == set(range(2, 19))
    assert {views_of(rng, (1, 2, 4)) for _ in range(100)} == {1, 2, 4}


def test_pose_probability_takes_effect(scenes):
    for probability in (0.0, 1.0):
        sampler = Sampler([scenes], replace(SMALL, pose_probability=probability), 0)
        assert all(sampler[i].posed == bool(probability) for i in range(4))


def test_cameras_are_given_in_a_fifth_of_the_steps():
    posed = [draw(replace(SMALL, pose_probability=0.2), 0, step).posed for step in range(2000)]
    assert np.mean(posed) == pytest.approx(0.2, abs=0.03)
    alone = [draw(replace(SMALL, view_counts=(1,), pose_probability=1.0), 0, step).posed for step in range(20)]
    assert not any(alone)  # one camera has no pose to tell


def test_every_step_costs_about_the_same():
    """The paper's views and sizes: the number of tokens stays within a constant budget."""
    config = SampleConfig(views_per_batch=18, view_counts=(2, 18), base=504)
    drawn = [draw(config, 0, step) for step in range(300)]
    tokens = [d.scenes * d.views * d.height * d.width / 196 for d in drawn]
    assert {d.views for d in drawn} == set(range(2, 19))
    assert max(tokens) <= 18 * 1296
    assert np.mean(tokens) > 0.8 * 18 * 1296


def test_the_first_view_is_the_reference_and_motions_stay(scenes):
    batch = Sampler([scenes], replace(SMALL, augment=False), 0)[0]
    torch.testing.assert_close(batch.pose[:, 0], torch.eye(4).repeat(3, 1, 1))
    steps = batch.pose[:, 1, :3, 3].norm(dim=-1)
    assert all(min(abs(float(s) - m) for m in (0.3, 0.6)) < 1e-5 for s in steps)


def test_far_pixels_are_not_supervised(scenes):
    batch = Sampler([scenes], replace(SMALL, max_depth=2.0), 0)[0]
    assert batch.depth[batch.valid].max() < 2.0
    assert not batch.valid.all()


def test_zoom_takes_effect(scenes):
    """A window of half the side has twice the focal length; without augmentation it is the largest one."""

    def focal(zoom, augment=True):
        batch = Sampler([scenes], replace(SMALL, zoom=zoom, augment=augment), 0)[0]
        return batch.intrinsics[:, :, 0, 0]

    torch.testing.assert_close(focal((0.5, 0.5)), 2 * focal((1.0, 1.0)))
    torch.testing.assert_close(focal((0.5, 0.5), augment=False), focal((1.0, 1.0)))
    drawn = focal((0.5, 1.0)) / focal((1.0, 1.0))
    assert 1 <= drawn.min() < drawn.max() <= 2


def test_near_views_come_in_order_of_distance():
    poses = np.tile(np.eye(4), (4, 1, 1))
    poses[:, 0, 3] = [0, 3, 1, 2]
    assert nearest(poses, 0).tolist() == [0, 2, 3, 1]


def test_overlap_falls_with_distance_and_guides_the_choice(rooms):
    for path in rooms.glob("*/*.png"):  # one wall in front of all three cameras
        cv2.imwrite(str(path), np.full((84, 112), 2000, np.uint16))
    cluster = load_room(rooms / "room_0")[0]
    views = [replace(v, key=f"a/{i}") for i, v in enumerate(cluster.views)]
    assert overlap_of(views[0], views[0]) > 0.95
    assert overlap_of(views[0], views[1]) > overlap_of(views[0], views[2])
    away = np.diag([-1.0, 1, -1, 1])
    behind = replace(views[2], pose=views[2].pose @ away, key="a/behind")
    assert overlap_of(views[0], behind) == 0
    mixed = replace(cluster, views=(views[0], behind, views[1]))
    for seed in range(20):
        chosen = choose_views(np.random.default_rng(seed), mixed.views, 2, "overlap", 0.3)
        if chosen[0].key != "a/behind":
            assert {v.key for v in chosen} == {"a/0", "a/1"}


def test_overlap_of_a_lidar_s_sparse_depth(rooms):
    rng = np.random.default_rng(0)
    for path in rooms.glob("*/*.png"):
        sparse = np.where(rng.random((84, 112)) < 0.03, 2000, 0).astype(np.uint16)
        cv2.imwrite(str(path), sparse)
    cluster = load_room(rooms / "room_0")[0]
    views = [replace(v, key=f"sparse/{i}") for i, v in enumerate(cluster.views)]
    assert overlap_of(views[0], views[0]) > 0.9
    assert overlap_of(views[0], views[1]) > overlap_of(views[0], views[2]) > 0


def test_unknown_selection_is_refused(rooms):
    cluster = load_room(rooms / "room_0")[0]
    with pytest.raises(ValueError, match="random, near, overlap"):
        choose_views(np.random.default_rng(0), cluster.views, 2, "best")


def test_a_window_keeps_points_where_they_are(rooms):
    record = load_room(rooms / "room_0")[0].views[0].load()
    full = unproject_depth(record.depth, record.intrinsics).reshape(-1, 3)
    small = window(record, 42, 42, zoom=0.8)
    points = unproject_depth(small.depth, small.intrinsics).reshape(-1, 3)
    plane = np.linalg.lstsq(full, np.ones(len(full)), rcond=None)[0]
    # The wall is a plane in neither case exactly (depth is linear in pixels), so compare the residuals' sizes.
    assert np.abs(points @ plane - 1).max() <= np.abs(full @ plane - 1).max() * 1.05


def test_mirrored_views_stay_consistent():
    """A point seen in two views is one point after mirroring, too."""
    rng = np.random.default_rng(0)
    k = np.array([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]])
    pose = np.eye(4)
    c, s = np.cos(0.3), np.sin(0.3)
    pose[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    pose[:3, 3] = rng.normal(size=3)
    depth = rng.uniform(1, 2, (30, 40))
    record = Record(np.zeros((30, 40, 3), np.uint8), depth, depth > 0, None, depth > 1.5, k, pose, "test", True)

    def world(r):
        return unproject_depth(r.depth, r.intrinsics) @ r.pose[:3, :3].T + r.pose[:3, 3]

    flipped = mirror(record)
    np.testing.assert_allclose(world(flipped), world(record)[:, ::-1] * [-1, 1, 1], atol=1e-9)
    np.testing.assert_array_equal(flipped.alpha, record.alpha[:, ::-1])


def test_no_rooms_says_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"scene\.json"):
        SceneSet("rooms", tmp_path)


def test_a_broken_image_is_named(rooms):
    room = rooms / "room_0"
    (room / "v0.jpg").write_bytes(b"broken")
    with pytest.raises(BrokenSampleError, match=r"v0\.jpg"):
        load_room(room)[0].views[0].load()


def test_too_many_views_stop_with_advice(scenes):
    with pytest.raises(BrokenSampleError, match="view_counts"):
        Sampler([scenes], replace(SMALL, view_counts=(5,)), 0)[0]


@pytest.fixture
def alone(rooms, tmp_path):
    """The views of a room, each by itself, of another angle of view: single photographs."""
    folder = tmp_path / "alone" / "place"
    shutil.copytree(rooms / "room_0", folder)
    scene = json.loads((folder / "scene.json").read_text())
    views = scene["clusters"][0]["views"]
    scene["source"] = "alone"
    scene["clusters"] = [{"kind": "single", "views": [view]} for view in views]
    for view in views:
        view["K"][0][0] = view["K"][1][1] = 70.0
    (folder / "scene.json").write_text(json.dumps(scene))
    return SceneSet("bags", tmp_path / "alone")


def test_single_photographs_are_mixed_with_steps_of_several_views(scenes, alone):
    config = replace(SMALL, view_counts=(1, 2, 3), zoom=(1.0, 1.0), views_per_batch=12)
    sampler = Sampler([scenes, alone], config, 0, [1.0, 1.0])
    seen = {1: [], 2: [], 3: []}
    for step in range(60):
        batch = sampler[step]
        assert not batch.broken
        seen[batch.images.shape[1]].append(float((batch.intrinsics[:, 0, 0, 0] < 40).float().mean()))
    assert seen[2]
    assert max(seen[2]) == 0
    assert seen[3]
    assert max(seen[3]) == 0
    assert np.mean(seen[1]) == pytest.approx(0.5, abs=0.12)


def test_clusters_of_a_mixed_set_are_found_among_its_single_photographs(rooms, alone, tmp_path):
    shutil.copytree(rooms / "room_0", tmp_path / "alone" / "walk")
    mixed = SceneSet("bags", tmp_path / "alone")
    assert len(mixed) == 2
    sampler = Sampler([mixed], replace(SMALL, view_counts=(3,), zoom=(1.0, 1.0)), 0)
    assert all(not sampler[step].broken and (sampler[step].intrinsics[:, 0, 0, 0] > 40).all() for step in range(8))


def test_views_that_no_set_has_stop_with_advice(alone):
    with pytest.raises(BrokenSampleError, match=r"no data set has 2 views of one place.*view_counts"):
        Sampler([alone], SMALL, 0)[0]


def test_margins_are_those_of_their_set(rooms, scenes):
    for path in rooms.glob("*/*.png"):
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        depth[:, 56:] *= 2
        cv2.imwrite(str(path), depth)
    config = replace(SMALL, augment=False)
    whole, cut = (Sampler([scenes], config, 0, margins=[m])[0] for m in (0.0, 0.05))
    assert whole.valid.all()
    assert 0.7 < cut.valid.float().mean() < 0.95
    assert not cut.valid[..., 26:30].any()


@pytest.mark.parametrize("name", ["turn", "roll"])
def test_turn_and_roll_take_effect(scenes, name):
    config = replace(SMALL, zoom=(0.5, 0.5), view_counts=(2,))
    still = Sampler([scenes], config, 0)[0]
    moved = Sampler([scenes], replace(config, **{name: 10.0}), 0)[0]
    torch.testing.assert_close(still.pose[:, 1, :3, :3], torch.eye(3).repeat(3, 1, 1), atol=1e-6, rtol=0)
    angle = rotation_angle(moved.pose[:, 1, :3, :3]).rad2deg()
    assert 1 < angle.max() < 21
    plain = Sampler([scenes], replace(config, augment=False, **{name: 10.0}), 0)[0]
    torch.testing.assert_close(plain.pose[:, 1, :3, :3], torch.eye(3).repeat(3, 1, 1), atol=1e-6, rtol=0)
