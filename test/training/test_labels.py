# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch", "tqdm")

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from developed import Sampler

from da3_training.data.records import BrokenSampleError
from da3_training.data.samples import SampleConfig
from da3_training.data.stored_labels import SUMMARY, apply_label, label_path
from da3_training.datasets.registry import SceneSet
from da3_training.labels import LabelConfig, align_robustly, write_labels

CONFIG = LabelConfig(size=(84, 112))


class Teacher(torch.nn.Module):
    """Knows the true depth of the test's wall, but not its scale and shift."""

    def forward(self, images):
        b, s, _, h, w = images.shape
        ramp = torch.linspace(1.0, 3.0, w).expand(b, s, h, w)
        return {"depth": 0.3 * ramp + 0.2}


@pytest.fixture
def scenes(rooms):
    """Depth that is sparse, and 40 % wrong where it exists."""
    rng = np.random.default_rng(0)
    for path in rooms.glob("*/*.png"):
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float64)
        wrong = rng.random(depth.shape) < 0.4
        depth[wrong] *= rng.uniform(0.3, 3.0, wrong.sum())
        depth[rng.random(depth.shape) < 0.8] = 0
        cv2.imwrite(str(path), depth.astype(np.uint16))
    return SceneSet("rooms", rooms)


def test_alignment_survives_forty_per_cent_outliers():
    """Scale and shift within 1 %."""
    rng = np.random.default_rng(1)
    relative = rng.uniform(0.5, 3.0, 4000)
    metric = 2.5 * relative + 0.7 + rng.normal(0, 0.01, 4000)
    wrong = rng.random(4000) < 0.4
    metric[wrong] = rng.uniform(0.2, 12.0, wrong.sum())
    fit = align_robustly(relative, metric)
    assert fit.scale == pytest.approx(2.5, rel=0.01)
    assert fit.shift == pytest.approx(0.7, rel=0.01)


def test_labels_have_the_scale_of_the_sensor_and_the_density_of_the_teacher(scenes, tmp_path):
    counts = write_labels(Teacher(), scenes, tmp_path / "labels", CONFIG)
    assert counts == {"kept": 6}
    view = scenes[0][0].views[0]
    record = apply_label(view.load(), tmp_path / "labels", view.key)
    assert record.valid.all()
    np.testing.assert_allclose(record.depth, np.tile(np.linspace(1, 3, 112), (84, 1)), rtol=0.01)


def test_there_is_no_label_where_the_teacher_sees_sky(scenes, tmp_path):
    class Outdoors(Teacher):
        def forward(self, images):
            out = super().forward(images)
            sky = torch.zeros_like(out["depth"])
            sky[..., :20, :] = 1
            out["depth"] = torch.where(sky > 0, 50.0, out["depth"])
            return {**out, "sky": sky}

    write_labels(Outdoors(), scenes, tmp_path / "labels", CONFIG)
    view = scenes[0][0].views[0]
    record = apply_label(view.load(), tmp_path / "labels", view.key)
    assert not record.valid[:20].any()
    assert record.valid[22:].mean() > 0.95
    assert record.depth.max() < 3.2


def test_what_does_not_fit_is_rejected_and_teaches_nothing(scenes, tmp_path):
    path = Path(scenes.root) / "room_0" / "v1.png"
    noise = np.random.default_rng(2).integers(200, 9000, (84, 112)).astype(np.uint16)
    cv2.imwrite(str(path), noise)
    (Path(scenes.root) / "room_0" / "v2.jpg").write_bytes(b"broken")
    counts = write_labels(Teacher(), scenes, tmp_path / "labels", CONFIG)
    assert counts["kept"] == 4
    rejected = json.loads((tmp_path / "labels" / SUMMARY).read_text())["rejected"]
    assert set(rejected) == {"room_0/00_00001", "room_0/00_00002"}
    assert rejected["room_0/00_00002"].startswith("broken")
    view = scenes[0][0].views[1]
    assert not apply_label(view.load(), tmp_path / "labels", view.key).valid.any()


def test_labelling_goes_on_where_it_stopped(scenes, tmp_path):
    write_labels(Teacher(), scenes, tmp_path / "labels", CONFIG)
    path = label_path(tmp_path / "labels", scenes[0][0].views[0].key)
    before = path.stat().st_mtime_ns
    assert write_labels(Teacher(), scenes, tmp_path / "labels", CONFIG) == {"kept": 6}
    assert path.stat().st_mtime_ns == before


def test_batches_use_labels_when_they_are_told_to(scenes, tmp_path):
    write_labels(Teacher(), scenes, tmp_path / "labels", CONFIG)
    config = SampleConfig(views_per_batch=2, view_counts=(2,), sizes=((28, 42),), augment=False)
    raw = Sampler([scenes], config, 0)[0]
    labelled = Sampler([scenes], config, 0, labels=[tmp_path / "labels"])[0]
    assert raw.valid.float().mean() < 0.3
    assert labelled.valid.all()
    torch.testing.assert_close(raw.images, labelled.images)


def test_rejected_views_are_not_drawn(scenes, tmp_path):
    """Nor scenes of which nothing is left: without depth a scene has no scale."""
    write_labels(Teacher(), scenes, tmp_path / "labels", CONFIG)
    for key in ("room_0/00_00000", "room_0/00_00001", "room_0/00_00002", "room_1/00_00001"):
        label_path(tmp_path / "labels", key).unlink()
    config = SampleConfig(views_per_batch=4, view_counts=(2,), sizes=((28, 42),), augment=False)
    sampler = Sampler([scenes], config, 0, labels=[tmp_path / "labels"])
    for step in range(6):
        batch = sampler[step]
        assert batch.valid.flatten(2).any(-1).all()
        assert not batch.broken
    with pytest.raises(BrokenSampleError, match="no data set has 3 views"):
        Sampler([scenes], replace(config, view_counts=(3,)), 0, labels=[tmp_path / "labels"])[0]


def test_samples_without_any_depth_are_replaced(scenes):
    for path in (Path(scenes.root) / "room_0").glob("*.png"):
        cv2.imwrite(str(path), np.zeros((84, 112), np.uint16))
    config = SampleConfig(views_per_batch=4, view_counts=(2,), sizes=((28, 42),), augment=False)
    batches = [Sampler([scenes], config, 0)[step] for step in range(6)]
    assert all(batch.valid.flatten(1).any(-1).all() for batch in batches)
    assert any("without any depth" in line for batch in batches for line in batch.broken)


def test_a_folder_without_labels_is_an_error(scenes, tmp_path):
    with pytest.raises(FileNotFoundError, match="da3-train label"):
        Sampler([scenes], SampleConfig(), 0, labels=[tmp_path])
    view = scenes[0][0].views[0]
    with pytest.raises(BrokenSampleError, match="da3-train label"):
        apply_label(view.load(), tmp_path, view.key)


def test_labels_of_another_image_size_are_refused(scenes, tmp_path):
    write_labels(Teacher(), scenes, tmp_path / "labels", CONFIG)
    view = scenes[0][0].views[0]
    record = view.load()
    half = record._replace(depth=record.depth[::2], valid=record.valid[::2])
    with pytest.raises(BrokenSampleError, match="label it again"):
        apply_label(half, tmp_path / "labels", view.key)
    assert replace(CONFIG, fewest=1).fewest == 1
