# SPDX-License-Identifier: Apache-2.0
"""The accuracy benchmark's own arithmetic: against the published evaluation code, against evo, and on known scenes."""

from needs import needs

needs("safetensors", "scipy", "torch", "tqdm")

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from protocol import (
    Protocol,
    align_poses,
    choose_frames,
    consistency,
    fit_depth_affine,
    load_protocols,
    published_pair_errors,
)
from readers import read_clusters
from report import markdown, merge, merge_sources
from tsdf import Fusion, compare_clouds, fuse, open3d

from da3_ros.geometry.metrics import auc
from da3_ros.geometry.poses import invert, matrix_from_quaternion

ROOT = Path(__file__).resolve().parents[2]


def random_poses(rng, count, spread=1.0):
    out = np.tile(np.eye(4), (count, 1, 1))
    for pose in out:
        q = rng.normal(size=4)
        pose[:3, :3] = matrix_from_quaternion(q / np.linalg.norm(q))
        pose[:3, 3] = rng.normal(size=3) * spread
    return out


@pytest.fixture(scope="module")
def o3d():
    try:
        return open3d()
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def published(o3d):
    """The evaluation functions of the published code."""
    pytest.importorskip("depth_anything_3")
    from depth_anything_3.bench import utils

    return utils


def turned_a_little(poses, rng, degrees, shift):
    out = poses.copy()
    for pose in out:
        axis = rng.normal(size=3)
        angle = np.radians(abs(rng.normal()) * degrees)
        q = np.append(axis / np.linalg.norm(axis) * np.sin(angle / 2), np.cos(angle / 2))
        pose[:3, :3] = pose[:3, :3] @ matrix_from_quaternion(q)
        pose[:3, 3] += rng.normal(size=3) * shift
    return out


@pytest.mark.parametrize(("degrees", "shift"), [(0.5, 0.01), (3, 0.1), (20, 0.5), (180, 5)])
def test_auc_is_that_of_the_published_code(published, degrees, shift):
    import torch

    rng = np.random.default_rng(int(degrees))
    truth = random_poses(rng, 12)
    found = turned_a_little(truth, rng, degrees, shift)
    theirs = published.compute_pose(torch.from_numpy(invert(found)), torch.from_numpy(invert(truth)))
    errors = published_pair_errors(found, truth)
    for threshold, key in ((3, "auc03"), (5, "auc05"), (15, "auc15"), (30, "auc30")):
        assert auc(errors, threshold) == pytest.approx(float(theirs[key]), abs=1e-6)


@pytest.mark.parametrize(("noise", "voxel"), [(0.01, 0.0), (0.05, 0.0), (0.05, 0.04), (0.3, 0.02)])
def test_f1_and_chamfer_are_those_of_the_published_code(published, noise, voxel):
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=(4000, 3))
    found = truth[:3000] + rng.normal(size=(3000, 3)) * noise
    ours = compare_clouds(found, truth, 0.05, voxel)
    theirs = published.evaluate_3d_reconstruction(found, truth, 0.05, voxel or None)
    for mine, key in (
        (ours.f1, "fscore"),
        (ours.precision, "precision"),
        (ours.recall, "recall"),
        (ours.accuracy, "acc"),
        (ours.completeness, "comp"),
        (ours.chamfer, "overall"),
    ):
        assert mine == pytest.approx(theirs[key], abs=1e-6)


def test_an_empty_cloud_scores_nothing():
    score = compare_clouds(np.zeros((0, 3)), np.ones((5, 3)), 0.1)
    assert (score.f1, score.chamfer) == (0.0, float("inf"))


def test_the_alignment_of_clean_trajectories_is_evos():
    evo = pytest.importorskip("evo.core.trajectory")
    rng = np.random.default_rng(1)
    truth = random_poses(rng, 10)
    found = turned_a_little(truth, rng, 2, 0.0)
    found[:, :3, 3] = found[:, :3, 3] * 0.4 + [1, 2, 3]
    path = evo.PosePath3D(poses_se3=list(found.copy()))
    rotation, translation, scale = path.align(evo.PosePath3D(poses_se3=list(truth)), correct_scale=True)
    fit = align_poses(found, truth)
    assert fit.scale == pytest.approx(scale, rel=1e-9)
    np.testing.assert_allclose(fit.rotation, rotation, atol=1e-9)
    np.testing.assert_allclose(fit.translation, translation, atol=1e-9)
    np.testing.assert_allclose(fit(found), np.stack(path.poses_se3), atol=1e-9)


def test_single_wrong_poses_do_not_spoil_the_alignment():
    rng = np.random.default_rng(2)
    truth = random_poses(rng, 20)
    found = truth.copy()
    found[:, :3, 3] = found[:, :3, 3] / 3 + rng.normal(size=(20, 3)) * 1e-4
    found[[4, 11], :3, 3] += 4
    assert align_poses(found, truth).scale == pytest.approx(3, rel=0.01)


def test_frames_are_drawn_like_the_published_code_does():
    def theirs(count, most):
        random.seed(42)
        indices = list(range(count))
        random.shuffle(indices)
        return sorted(indices[:most])

    assert choose_frames(500, Protocol("x", "rooms")) == theirs(500, 100)
    assert choose_frames(60, Protocol("x", "rooms")) == list(range(60))
    thinned = choose_frames(3000, Protocol("x", "rooms", every=11, max_frames=50))
    assert len(thinned) == 50
    assert all(index % 11 == 0 for index in thinned)


def test_affine_depth():
    rng = np.random.default_rng(3)
    truth = rng.uniform(1, 5, (20, 30)).astype(np.float32)
    scale, shift = fit_depth_affine((truth - 0.5) / 2, truth, np.ones_like(truth, bool))
    assert (scale, shift) == (pytest.approx(2, rel=1e-5), pytest.approx(0.5, rel=1e-4))
    assert fit_depth_affine(np.ones_like(truth), truth, truth > 0)[0] == 0.0


K = np.array([[80.0, 0, 47.5], [0, 80, 35.5], [0, 0, 1]])


def wall(poses, distance=3.0):
    """Depth (S, 72, 96) of the plane z = distance seen by cameras T_world_camera."""
    u, v = np.meshgrid(np.arange(96), np.arange(72))
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u, float)], axis=-1)
    return [((distance - pose[2, 3]) / (rays @ pose[2, :3])).astype(np.float32) for pose in poses]


@pytest.fixture
def cameras():
    poses = np.tile(np.eye(4), (4, 1, 1))
    for i, pose in enumerate(poses):
        pose[:3, :3] = matrix_from_quaternion(np.array([0, np.sin(0.05 * i), 0, np.cos(0.05 * i)]))
        pose[:3, 3] = [-0.3 * i, 0.02 * i, 0.1 * i]
    return poses


def test_views_that_agree_are_consistent(cameras):
    depths, ks = wall(cameras), np.tile(K, (4, 1, 1))
    assert consistency(depths, ks, cameras) < 2e-3
    worse = [depth * (1.0 + 0.05 * (i % 2)) for i, depth in enumerate(depths)]
    assert consistency(worse, ks, cameras) > 0.02
    apart = cameras.copy()
    apart[:, 0, 3] += 100 * np.arange(4)
    assert np.isnan(consistency(depths, ks, apart))


def test_the_fused_surface_is_the_wall(o3d, cameras):
    cloud = fuse(wall(cameras), np.tile(K, (4, 1, 1)), cameras, Fusion(voxel=0.02, truncation=0.08, points=5000))
    assert len(cloud) == 5000
    assert np.abs(cloud[:, 2] - 3).max() < 0.01
    assert np.ptp(cloud[:, 0]) > 3
    assert len(fuse(wall(cameras), np.tile(K, (4, 1, 1)), cameras, Fusion(max_depth=1.0))) == 0


def test_protocols():
    protocols = load_protocols()
    assert protocols["eth3d"].f1_threshold == 0.25
    assert protocols["eth3d"].voxel == pytest.approx(4 / 512 * 5, abs=1e-4)
    assert len(protocols["eth3d"].scenes) == 11
    assert len(protocols["dtu64"].scenes) == 13
    assert (protocols["seven_scenes"].every, protocols["scannetpp"].every) == (11, 5)


def write_hiroom(root):
    folder = root / "house" / "a" / "room1"
    for name in ("image", "depth", "pose"):
        (folder / name).mkdir(parents=True)
    np.save(folder / "cam_K.npy", K)
    for i in range(3):
        cv2.imwrite(str(folder / "image" / f"{i}.jpg"), np.full((72, 96, 3), 50 * i, np.uint8))
        cv2.imwrite(str(folder / "depth" / f"{i}.png"), np.full((72, 96), 6553, np.uint16))
        np.save(
            folder / "pose" / f"{i}.npy", np.array([[1, 0, 0, -float(i)], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        )
    return root


def test_hiroom_in_its_published_layout(tmp_path):
    [(name, records)] = read_clusters(load_protocols()["hiroom"], write_hiroom(tmp_path))
    assert name.startswith("house/a/room1")
    assert len(records) == 3
    np.testing.assert_allclose(records[2].depth, 10.0, atol=1e-3)
    np.testing.assert_allclose(records[2].pose[:3, 3], [2, 0, 0])
    with pytest.raises(FileNotFoundError, match="cam_K"):
        list(read_clusters(load_protocols()["hiroom"], tmp_path / "house" / "a" / "room1" / "image"))


def test_single_images(tmp_path):
    for name in ("image", "depth"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "image" / "a.png"), np.zeros((20, 30, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "image" / "b.png"), np.zeros((20, 30, 3), np.uint8))
    np.save(tmp_path / "depth" / "a.npy", np.full((20, 30), 2.5, np.float32))
    cv2.imwrite(str(tmp_path / "depth" / "b.png"), np.full((20, 30), 256 * 7, np.uint16))
    found = dict(read_clusters(load_protocols()["kitti"], tmp_path))
    assert [float(records[0].depth[0, 0]) for records in found.values()] == [2.5, 7.0]


def test_the_report_pools_pairs_and_stands_beside_the_paper():
    sequences = [
        {"views": [4.0], "pairs_head": [1, 1, 40, 2], "consistency": [float("nan")], "f1_posed": [0.1]},
        {"views": [4.0], "pairs_head": [0.5, 0.2], "consistency": [0.05], "f1_posed": [0.3]},
    ]
    merged = merge(sequences)
    assert merged["sequences"] == 2
    assert merged["f1_posed"] == pytest.approx(0.2)
    assert merged["consistency"] == 0.05
    assert merged["auc3_head"] == pytest.approx(auc(np.array([[1, 1], [40, 2], [0.5, 0.2]]), 3))
    paper = {"paper": {"hiroom": {"small": [9.5, 75.2, 18.3, 52.2]}}}
    page = markdown({"hiroom 4 views": {**merged, "f1_unposed": 0.1}}, paper, {"model": "x"})
    assert "| hiroom 4 views | camera head | 3 |" in page
    assert "| hiroom 4 views | paper, small | | 0.095 | | 0.752 |" in page
    assert "| hiroom 4 views, paper, small | 0.183 |" in page


def test_sources_weigh_the_same_however_many_images_they_have():
    scores = [{"views": [1.0], "absrel_scale": [x]} for x in (0.1, 0.1, 0.1, 0.3)]
    scores[0]["pairs_head"] = [1.0, 2.0]
    rows = merge_sources(scores, ["a", "a", "a", "b"])
    assert list(rows) == [", a", ", b", ", mean over sources", ""]
    assert rows[", mean over sources"]["absrel_scale"] == pytest.approx(0.2)
    assert rows[""]["absrel_scale"] == pytest.approx(0.15)
    assert [row["sequences"] for row in rows.values()] == [3, 1, 4, 4]
    assert "auc30_head" in rows[""]
    assert "auc30_head" not in rows[", mean over sources"]


@pytest.mark.timeout(300)
def test_what_the_page_says_of_more_views_is_in_its_table():
    text = " ".join((ROOT / "docs" / "accuracy.md").read_text().split())
    rows = dict(re.findall(r"\| (\w+ \d) views \| \d+ \| [\d.]+ \| ([\d.]+) \|", text))
    rooms, motorcycle = (
        [rows[f"{name} {n}"] for n in views] for name, views in (("rooms", "124"), ("motorcycle", "12"))
    )
    assert rooms == sorted(rooms, reverse=True)
    assert f"better with several views than with one (AbsRel {rooms[0]}, {rooms[1]} and {rooms[2]} with" in text
    assert motorcycle == sorted(motorcycle)
    assert f"on the Motorcycle worse ({' and '.join(motorcycle)})" in text


def test_the_command(o3d, tmp_path):
    write_hiroom(tmp_path / "sets")
    command = [sys.executable, str(ROOT / "benchmark" / "accuracy"), f"hiroom={tmp_path / 'sets'}", "motorcycle"]
    options = ["--views", "1", "3", "--size", "140", "--points", "2000", "--groups", "1", "-o", str(tmp_path / "out")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "accuracy.json").read_text())["results"]
    assert set(results) == {"hiroom 1 views", "hiroom 3 views", "motorcycle 1 views"}
    assert results["hiroom 3 views"]["pairs_head_count"] == 3
    # Cameras on one line fix no similarity: no surface is scored, and none is made up.
    assert "f1_unposed" not in results["hiroom 3 views"]
    # One camera may be off by a scale and a shift, but it is better than a constant.
    scores = results["motorcycle 1 views"]
    assert scores["delta1_affine"] > scores["delta1_constant"]
    assert "## Depth" in (tmp_path / "out" / "accuracy.md").read_text()
