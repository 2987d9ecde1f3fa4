# SPDX-License-Identifier: Apache-2.0
"""What single photographs and depth cameras ask of a run."""

from needs import needs

needs("lightning_fabric", "onnx", "safetensors", "torch", "tqdm", "webdataset")

import shutil
from dataclasses import replace

import cv2
import pytest
import torch
from run_files import read_log

from da3_training import cli
from da3_training.config import DataConfig, Stage
from da3_training.run import trainer
from da3_training.run.feeder import Feeder
from da3_training.run.stopwatch import Stopwatch
from da3_training.studio.sources import open_sources


@pytest.mark.parametrize(("views", "lone", "has_rays"), [(1, False, False), (1, True, True), (2, False, True)])
def test_single_views_learn_rays_only_where_that_is_wanted(config, views, lone, has_rays):
    samples = replace(config.stages[0].samples, view_counts=(views,))
    config = replace(config, steps=2, stages=(Stage(1.0, samples),), loss=replace(config.loss, lone_rays=lone))
    trainer.train(config)
    lines = read_log(config.output).values()
    assert len(lines) == 2
    assert all(("ray" in line) == has_rays == ("point" in line) for line in lines)


def test_scenes_that_are_left_out_and_margins_reach_the_batches(config, rooms, tmp_path):
    def batch(**changes):
        entry = replace(config.data[0], **changes)
        changed = replace(config, data=(entry,))
        with Feeder(changed, open_sources(changed), torch.device("cpu")) as feeder:
            feeder.start(0, 0, False)
            watch = Stopwatch(torch.device("cpu"))
            watch.step()
            return feeder.take(watch)

    shutil.copytree(rooms / "room_0", rooms / "other")
    for path in (rooms / "other").glob("*.png"):
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        depth[:, 56:] = 39_000
        cv2.imwrite(str(path), depth)
    assert batch(only=("other",)).depth.amax((1, 2, 3)).min() == 39
    assert batch(leave_out=("oth*",)).depth.max() < 4
    assert batch(only=("other",), margin=0.1).valid.float().mean() < batch(only=("other",)).valid.float().mean()
    cli.main(["shards", f"rooms={rooms}", str(tmp_path / "shards"), "--only", "oth*"])
    shards = {"dataset": "shards", "root": str(tmp_path / "shards")}
    assert batch(**shards).depth.amax((1, 2, 3)).min() == pytest.approx(39, rel=1e-3)
    assert batch(**shards, margin=0.1).valid.float().mean() < batch(**shards).valid.float().mean()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "shards", "only": ("a",)}, "are for folders of scenes, not for shards"),
        ({"dataset": "studio", "leave_out": ("a",)}, "are for folders of scenes, not for studio"),
        ({"dataset": "studio", "margin": 0.1}, "a studio's depth is exact"),
        ({"margin": 0.5}, "data margin is 0.5"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**changes)
