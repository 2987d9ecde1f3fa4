# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from da3_ros.network import load_checkpoint
from da3_training import trainer
from da3_training.config import TrainConfig, load_config
from da3_training.samples import SampleConfig

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"


@pytest.fixture
def config(rooms, tmp_path, micro):
    samples = SampleConfig(views_per_batch=4, view_counts=(2,), sizes=((28, 42),), final_sizes=((28, 42),))
    return TrainConfig(
        preset=micro,
        rooms=str(rooms),
        output=str(tmp_path / "run"),
        encoder="none",
        frozen_blocks=1,
        steps=6,
        warmup=2,
        threads=1,
        samples=samples,
    )


def losses(config):
    lines = (Path(config.output) / trainer.LOG).read_text().splitlines()
    return {entry["step"]: entry["loss"] for entry in map(json.loads, lines)}


def test_training_writes_a_checkpoint_that_loads(config):
    folder = trainer.train(config)
    model = load_checkpoint(folder)
    assert model.preset.name == config.preset
    assert sorted(losses(config)) == list(range(6))


def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(config, monkeypatch):
    trainer.train(config)
    whole = losses(config)
    broken = replace(config, output=config.output + "_2", checkpoint_minutes=0.0)
    calls = []
    original = trainer.compute_loss

    def die_at_the_fifth(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(trainer, "compute_loss", die_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(broken)
    monkeypatch.setattr(trainer, "compute_loss", original)
    trainer.train(broken)
    assert losses(broken) == pytest.approx(whole, rel=1e-5)


def test_frozen_blocks_do_not_move(config):
    model = trainer.create_model(config.preset)
    trainer._initialise(model, config)
    vit = model.backbone.pretrained
    assert not any(p.requires_grad for p in vit.blocks[0].parameters())
    assert all(p.requires_grad for p in vit.blocks[1].parameters())


def test_ten_bad_steps_in_a_row_stop_the_run(config, monkeypatch):
    def bad(model, batch, config):
        return sum(p.sum() for p in model.parameters() if p.requires_grad) * float("nan"), {}

    monkeypatch.setattr(trainer, "compute_loss", bad)
    with pytest.raises(FloatingPointError, match="learning rate"):
        trainer.train(replace(config, steps=20))


def test_overfitting_one_batch_lowers_the_loss(config):
    """The whole path learns: images to losses to weights."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = trainer.create_model(config.preset)
    config = replace(config, learning_rate=3e-3, backbone_learning_rate=1e-3)
    trainer._initialise(model, config)
    optimiser = trainer._optimiser(model, config)
    batch = trainer.RoomSampler(Path(config.rooms), config.samples, 0, 1, 0.0)[0]
    values = []
    for _ in range(40):
        total, terms = trainer.compute_loss(model, batch, config)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        values.append(terms["depth"] + terms["camera"])
    assert values[-1] < 0.5 * values[0]


def test_shipped_configuration_is_valid():
    config = load_config(CONFIGS / "nano_cpu.yaml", {"steps": 7})
    assert (config.preset, config.steps, config.loss.depth_space) == ("da3-nano", 7, "log")


def test_unknown_keys_are_refused(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("samples: {view_count: [2]}")
    with pytest.raises(ValueError, match="view_counts"):
        load_config(path)
