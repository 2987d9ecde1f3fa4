# SPDX-License-Identifier: Apache-2.0
"""Scores of a checkpoint: an oracle in the network's place gets the scores that its errors deserve."""

from needs import needs

needs("safetensors", "torch", "tqdm")

import json

import cv2
import numpy as np
import pytest
import torch

from da3_ros.geometry.poses import invert
from da3_ros.network import create_model, save_checkpoint
from da3_training.cli.evaluate import main
from da3_training.data.records import Record
from da3_training.datasets.registry import SceneSet
from da3_training.evaluate import ViewGroup, evaluate, evaluate_sources, make_group, motorcycle, view_groups
from da3_training.score_table import markdown

SIZE = (28, 42)


@pytest.fixture
def group():
    """Three views of a slope, moved along x and turned a little."""
    depth = np.linspace(1, 3, 3 * 28 * 42, dtype=np.float32).reshape(3, 28, 42)
    pose = np.tile(np.eye(4), (3, 1, 1))
    pose[:, 0, 3] = (0, 0.3, 0.6)
    for i in range(3):
        pose[i, :3, :3] = cv2.Rodrigues(np.array([0.0, 0.1 * i, 0.0]))[0]
    k = np.tile(np.array([[40.0, 0, 20.5], [0, 40, 13.5], [0, 0, 1]]), (3, 1, 1))
    return ViewGroup(np.zeros((3, 3, 28, 42), np.float32), depth, depth > 1.2, k, pose)


class Oracle:
    """Knows a group; seen alone, every image has a scale of its own."""

    def __init__(self, group, alone=(1.0, 1.0, 1.0), shift=0.0, turn=0.0):
        self.group, self.alone, self.shift, self.turn, self.told = group, alone, shift, turn, []

    def __call__(self, images, extrinsics=None, intrinsics=None, reference="first"):
        self.told.append(extrinsics)
        depth = torch.from_numpy(self.group.depth) * 7
        if images.shape[1] == 1:
            return {"depth": (depth * torch.tensor(self.alone)[:, None, None])[:, None]}
        pose = self.group.pose.copy()
        pose[1:, :3, :3] = pose[1:, :3, :3] @ cv2.Rodrigues(np.array([0.0, 0.0, np.radians(self.turn)]))[0]
        return {"depth": depth[None] + self.shift, "extrinsics": torch.from_numpy(invert(pose))[None]}


def test_the_truth_up_to_scale_scores_perfectly(group):
    scores = evaluate(Oracle(group), iter([group]))
    assert scores["absrel"] == scores["alone_absrel"] == 0
    assert scores["delta1"] == scores["alone_delta1"] == 1
    assert scores["auc5"] == scores["auc30"] == 1
    assert scores["rotation_median_deg"] == pytest.approx(0, abs=1e-4)


def test_errors_cost_where_they_are(group):
    scores = evaluate(Oracle(group, alone=(1.0, 2.0, 0.5), shift=3.0, turn=10.0), iter([group]))
    assert 0 < scores["absrel"] < scores["alone_absrel"]
    assert scores["alone_delta1"] < 0.5
    assert scores["auc5"] == 0 < scores["auc30"] < 1
    assert scores["rotation_median_deg"] == pytest.approx(10, abs=0.1)


def test_guesses_that_know_nothing(group):
    scores = evaluate(Oracle(group), iter([group]))
    constant = np.full_like(group.depth, np.median(group.depth[group.valid]))[group.valid]
    true = group.depth[group.valid]
    assert scores["constant_absrel"] == pytest.approx(np.mean(np.abs(constant - true) / true), abs=1e-4)
    assert scores["identity_auc30"] < 0.2
    assert scores["identity_rotation_median_deg"] > 4
    assert scores["baseline_median_m"] == pytest.approx(0.45)


def test_known_cameras_are_given_without_their_scale(group):
    oracle = Oracle(group)
    evaluate(oracle, iter([group]), posed=True)
    assert oracle.told[0] is not None
    larger = group._replace(pose=group.pose * np.array([1, 1, 1, 5])[None, None, :])
    larger.pose[:, 3, 3] = 1
    again = Oracle(larger)
    evaluate(again, iter([larger]), posed=True)
    assert torch.allclose(oracle.told[0], again.told[0], atol=1e-5)


def test_sets_with_little_depth_are_left_out(rooms):
    for name in ("v0.png", "v1.png", "v2.png"):
        path = str(rooms / "room_0" / name)
        depth = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        depth[:, 12:] = 0
        cv2.imwrite(path, depth)
    scenes = SceneSet("rooms", rooms)
    assert len(list(view_groups(scenes, 3, SIZE, least=0.2))) == 1
    assert len(list(view_groups(scenes, 3, SIZE, least=0.02))) == 2
    assert len(list(view_groups(scenes, 3, SIZE, limit=1, least=0.02))) == 1
    with pytest.raises(ValueError, match="no set of views could be scored"):
        evaluate(None, view_groups(scenes, 3, SIZE, limit=1))


def test_motorcycle_has_two_views():
    group = motorcycle(2, SIZE)
    assert group.valid[0].mean() > 0.5
    assert not group.valid[1].any()
    assert group.pose[1, 0, 3] == pytest.approx(0.193, abs=1e-3)
    with pytest.raises(ValueError, match="3 were asked for"):
        motorcycle(3, SIZE)


def test_the_command_prints_a_line_for_each_set_and_count(rooms, tmp_path, micro, capsys):
    save_checkpoint(create_model(micro), tmp_path / "model")
    options = ["--views", "1", "2", "--size", "28", "42", "--posed", "--motorcycle"]
    main([str(tmp_path / "model"), f"rooms={rooms}", *options, "--pictures", str(tmp_path / "pictures")])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    seen = [(line["set"], line["views"], line["posed"]) for line in lines]
    assert seen == [(s, v, p) for v, p in ((1, False), (2, False), (2, True)) for s in ("rooms", "motorcycle")]
    assert all(("alone_absrel" in line) == (line["views"] > 1) for line in lines)
    assert cv2.imread(str(tmp_path / "pictures" / "motorcycle.png")).shape == (20 + 3 * 28, 42, 3)
    rooms_scored = next(line["sets"] for line in lines if line["set"] == "rooms")
    assert cv2.imread(str(tmp_path / "pictures" / "rooms.png")).shape == (20 + 3 * 28, min(5, rooms_scored) * 42, 3)
    with pytest.raises(ValueError, match="'rooms' is not dataset=folder"):
        main([str(tmp_path / "model"), "rooms"])


def test_a_source_weighs_the_same_however_many_images_it_has(group):
    good, bad = (
        group._replace(
            images=group.images[:1],
            depth=group.depth[:1],
            valid=group.valid[:1],
            pose=group.pose[:1],
            intrinsics=group.intrinsics[:1],
            source=s,
        )
        for s in ("a", "b")
    )
    bad = bad._replace(depth=bad.depth[:, :, ::-1])
    rows = evaluate_sources(
        lambda *a, **k: {"depth": torch.from_numpy(good.depth)[None]}, iter([good, good, good, bad])
    )
    assert list(rows) == ["a", "b", "mean over sources", "mean over sets"]
    assert rows["a"] == evaluate(lambda *a, **k: {"depth": torch.from_numpy(good.depth)[None]}, iter([good])) | {
        "sets": 3
    }
    assert rows["a"]["absrel"] == 0 < rows["b"]["absrel"]
    assert rows["mean over sources"]["absrel"] == pytest.approx(rows["b"]["absrel"] / 2, abs=1e-4)
    assert rows["mean over sets"]["absrel"] == pytest.approx(rows["b"]["absrel"] / 4, abs=1e-4)
    assert rows["mean over sources"]["constant_delta1"] == pytest.approx(rows["a"]["constant_delta1"], abs=1e-4)
    assert [row["sets"] for row in rows.values()] == [3, 1, 4, 4]


@pytest.mark.parametrize(("metric", "kept"), [(True, [0.5, 4, 30]), (False, [0.5, 4, 30, 70])])
def test_without_a_metric_scale_depth_is_scored_around_the_median(metric, kept):
    depth = np.zeros((28, 42), np.float32)
    depth[3, :6] = [0.02, 0.5, 4, 30, 70, 900]
    depth[10:20] = 4
    k = np.array([[40.0, 0, 20.5], [0, 40, 13.5], [0, 0, 1]])
    record = Record(np.zeros((28, 42, 3), np.uint8), depth, depth > 0, None, None, k, np.eye(4), "x", metric)
    group = make_group([record], SIZE)
    assert np.unique(group.depth[group.valid]).tolist() == kept
    assert group.source == "x"


@pytest.fixture
def photographs(rooms):
    """A source of three single photographs, one of them of a LiDAR's sparse depth, and one of a walk."""
    for name, source in (("room_0", "alone"), ("room_1", "walk")):
        path = rooms / name / "scene.json"
        scene = json.loads(path.read_text())
        scene["source"] = source
        if source == "alone":
            scene["clusters"] = [{"kind": "single", "views": [v]} for v in scene["clusters"][0]["views"]]
        path.write_text(json.dumps(scene))
    path = str(rooms / "room_0" / "v2.png")
    depth = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    sparse = np.zeros_like(depth)
    sparse[::9, ::9] = depth[::9, ::9]
    cv2.imwrite(path, sparse)
    return rooms


def test_the_table_of_many_sources(photographs, tmp_path, micro, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    save_checkpoint(create_model(micro), first)
    torch.manual_seed(1)
    save_checkpoint(create_model(micro), second)
    options = ["--views", "1", "2", "--size", "28", "42", "--by-source", "--table", str(tmp_path / "table.md")]
    main([str(first), f"bags={photographs}", "--beside", str(second), *options, "--pictures", str(tmp_path / "p")])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {(line["checkpoint"], line["views"], line["source"]): line for line in lines}
    means = ["mean over sources", "mean over sets"]
    assert list(dict.fromkeys(line["source"] for line in lines if line["views"] == 1)) == ["alone", "walk", *means]
    # Sparse depth counts, and every image is in one set; single photographs make no pairs.
    assert found[str(first), 1, "alone"]["sets"] == found[str(first), 1, "walk"]["sets"] == 3
    assert found[str(first), 2, "walk"]["sets"] == 1
    assert (str(first), 2, "alone") not in found
    assert cv2.imread(str(tmp_path / "p" / "bags.png")) is not None
    rows = [row.split(" | ") for row in (tmp_path / "table.md").read_text().splitlines()]
    assert len(rows) == 2 + 4 + 3
    assert rows[0][4:6] == [str(first), str(second)]
    scores = [found[str(path), 1, "walk"]["absrel"] for path in (first, second)]
    cells = next(row for row in rows if row[1:3] == ["walk", "1"])[4:6]
    assert [cell.startswith("**") for cell in cells] == [score == min(scores) for score in scores]


def test_scenes_and_strides_of_the_command_take_effect(photographs, tmp_path, micro, capsys):
    save_checkpoint(create_model(micro), tmp_path / "model")

    def sets(*options):
        main([str(tmp_path / "model"), f"bags={photographs}", "--views", "1", "--size", "28", "42", *options])
        return json.loads(capsys.readouterr().out)["sets"]

    assert sets() == 3  # of the walk only every sixth, of the LiDAR's too little
    assert sets("--stride", "1") == 5
    assert sets("--stride", "2", "--only", "room_1") == 2
    assert sets("--leave-out", "room_1", "--least", "0.001") == 3
    with pytest.raises(ValueError, match="--stride is 0"):
        sets("--stride", "0")


def test_the_table_leaves_empty_what_was_not_scored():
    line = {"checkpoint": "a", "set": "rooms", "views": 2, "posed": True, "sets": 5, "absrel": 0.25, "delta1": 1.0}
    other = {**line, "checkpoint": "b", "set": "kitchen", "alone_absrel": 1.5, "alone_delta1": 0.0, "auc30": 0.1}
    assert markdown([line, other]).splitlines() == [
        "| set | views | sets | a | b | alone | constant | AUC@30 |",
        "|---|---|---|---|---|---|---|---|",
        "| rooms | 2, cameras given | 5 | **.250 / 1.000** |  |  |  |  |",
        "| kitchen | 2, cameras given | 5 |  | **.250 / 1.000** | 1.500 / .000 |  | .100 |",
    ]
