# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("lightning_fabric", "onnx", "safetensors", "torch", "tqdm", "webdataset")

import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml
from developed import Sampler
from run_files import losses, read_log

from da3_ros.network import load_checkpoint
from da3_training.cli.main import main
from da3_training.config import DataConfig, MatchingConfig, load_config
from da3_training.datasets.registry import SceneSet
from da3_training.run import checkpoints, tasks, trainer
from da3_training.run.feeder import Feeder
from da3_training.run.initial import initialise
from da3_training.run.monitor import LOG
from da3_training.run.optimiser import MovingAverage, make_optimiser, rate_factor
from da3_training.run.stopwatch import Stopwatch
from da3_training.run.tasks import Learner
from da3_training.studio.sources import open_sources

CONFIGS = Path(__file__).resolve().parents[3] / "training" / "configs"


def learner_of(config):
    model = trainer.create_model(config.preset)
    initialise(model, config)
    return Learner(model, config)


def test_training_writes_a_checkpoint_that_loads_and_a_record_of_it(config):
    folder = trainer.train(config)
    assert load_checkpoint(folder).preset.name == config.preset
    assert sorted(losses(config)) == list(range(6))
    assert list((Path(config.output) / "tensorboard").glob("events*"))


def test_matching_is_learned_beside_and_not_exported(config):
    config = replace(config, matching=MatchingConfig(weight=0.2, block=3, heads=2, flow=1.0))
    folder = trainer.train(config)
    log = read_log(config.output)
    assert {"match", "hits", "flow_3"} <= set(log[0])
    assert not any("readout" in key for key in load_checkpoint(folder).state_dict())


@pytest.mark.parametrize("given", [False, True])
def test_cameras_that_were_given_have_errors_of_their_own(config, given):
    samples = replace(config.stages[0].samples, pose_probability=float(given))
    config = replace(config, stages=(replace(config.stages[0], samples=samples),), steps=1)
    trainer.train(config)
    [entry] = read_log(config.output).values()
    assert ("given_rotation_deg" in entry) == given
    assert ("rotation_deg" in entry) != given


def test_matching_needs_a_cross_view_block(config):
    with pytest.raises(ValueError, match=r"cross-view blocks of micro are \[3\]"):
        trainer.train(replace(config, matching=MatchingConfig(weight=1.0, block=2)))


@pytest.mark.parametrize("task", ["teacher", "mono", "metric"])
def test_single_view_networks_train(config, micros, task):
    stage = replace(config.stages[0], samples=replace(config.stages[0].samples, view_counts=(1,)))
    folder = trainer.train(replace(config, task=task, preset="micro-single", steps=3, stages=(stage,)))
    assert set(read_log(folder.parent)[0]) >= {"depth", "gradient", "normals", "sky", "object"}


def test_sky_stays_unseen_where_the_data_do_not_tell_it(config, micros):
    stage = replace(config.stages[0], samples=replace(config.stages[0].samples, view_counts=(1,)))
    options = replace(config.optimiser, learning_rate=3e-3)
    run = replace(config, task="teacher", preset="micro-single", steps=8, stages=(stage,), optimiser=options)
    model = load_checkpoint(trainer.train(run))
    sky = model.head_outputs(torch.randn(2, 1, 3, 28, 42))["sky"]
    assert sky.max() < 0.3
    assert sky.min() > 0


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(config, monkeypatch, dropout):
    """Features that are dropped are drawn in each step; what loads the batches draws as well, when it begins."""
    config = replace(config, head_dropout=dropout, steps=4)
    trainer.train(config)
    whole = losses(config)
    runtime = replace(config.runtime, checkpoint_minutes=0.0)
    broken = replace(config, output=config.output + "_2", runtime=runtime)
    original, calls = tasks.Learner.forward, []

    def die_at_the_third(self, batch):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(tasks.Learner, "forward", die_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(broken)
    monkeypatch.setattr(tasks.Learner, "forward", original)
    trainer.train(broken)
    assert losses(broken) == pytest.approx(whole, rel=1e-5)


def test_a_step_that_cannot_be_compiled_drops_the_same_features(config, monkeypatch):
    """It is done once more without: what the first attempt drew must not count."""

    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, tokens):
            return tokens.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError("no backward pass")

    config = replace(config, head_dropout=0.3, steps=2)
    trainer.train(config)
    monkeypatch.setattr(
        torch, "compile", lambda forward, dynamic: lambda *args, **kw: Fails.apply(forward(*args, **kw))
    )
    compiled = replace(config, output=config.output + "_2", runtime=replace(config.runtime, compile=True))
    trainer.train(compiled)
    assert losses(compiled) == pytest.approx(losses(config), rel=1e-6)


def weights(config):
    """Of the newest checkpoint, and their average."""
    newest = sorted(Path(config.output).glob("step_*"))[-1]
    raw, mean = (torch.load(newest / f"{name}.ckpt", weights_only=True)["learner"] for name in ("state", "average"))
    key = "model.cam_dec.fc_t.weight"
    return raw[key], mean[key]


def test_gradients_are_clipped(config):
    """AdamW takes no notice of their size, but for those below its epsilon."""
    options, moved = replace(config.optimiser, weight_decay=0.0, warmup=1), {}
    for clip in (1e-12, 1.0):
        run = replace(config, steps=1, output=f"{config.output}_{clip}", optimiser=replace(options, clip=clip))
        checkpoints.seed_everything(config.runtime.seed)  # as a run does before it makes its weights
        start = learner_of(run).state_dict()["model.cam_dec.fc_t.weight"].clone()
        trainer.train(run)
        moved[clip] = float((weights(run)[0] - start).abs().max())
    assert moved[1e-12] < 1e-6
    assert moved[1.0] > 1e-4


def test_the_decay_of_the_average_takes_effect(config):
    run = replace(config, steps=3, optimiser=replace(config.optimiser, learning_rate=1e-2, warmup=1, ema=0.0))
    trainer.train(run)
    raw, mean = weights(run)
    torch.testing.assert_close(mean, raw)  # nothing of the steps before is kept


@pytest.mark.parametrize("fused", [True, False])
def test_betas_take_effect(config, fused):
    """Without a memory of gradients a step back undoes a step; with one of half the last gradient it does not."""
    for first, back in ((0.0, 0.0), (0.5, 0.25 / 0.75)):
        layer = torch.nn.Linear(2, 2)
        start = layer.weight.detach().clone()
        options = replace(config.optimiser, betas=(first, 0.0), weight_decay=0.0, learning_rate=0.1)
        optimiser = make_optimiser(layer, 4, options, fused)
        for gradient in (1.0, -1.0):
            for parameter in layer.parameters():
                parameter.grad = torch.full_like(parameter, gradient)
            optimiser.step()
        # The mean of the gradients after both, without its bias: -1, or (0.5 * 0.5 - 0.5) / 0.75.
        second = 1.0 if first == 0 else back
        torch.testing.assert_close(layer.weight.detach(), start - 0.1 + 0.1 * second)


@pytest.mark.parametrize("weights", [(1.0, 1e-9), (1e-9, 1.0)])
def test_weights_of_the_data_share_out_the_scenes(config, rooms, tmp_path, weights):
    """The second data set is four times as deep as the first."""
    deep = tmp_path / "deep"
    shutil.copytree(rooms, deep)
    for path in deep.glob("*/scene.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "depth_factor": 4.0}))
    data = tuple(DataConfig("rooms", str(root), weight) for root, weight in zip((rooms, deep), weights, strict=True))
    config = replace(config, data=data)
    with Feeder(config, open_sources(config), torch.device("cpu")) as feeder:
        feeder.start(0, 0, labelled=False)
        watch = Stopwatch(torch.device("cpu"))
        watch.step()
        deepest = [float(feeder.take(watch).depth.max()) for _ in range(4)]
    assert all(depth < 3.01 for depth in deepest) == (weights[0] == 1.0)
    assert all(depth > 4 for depth in deepest) == (weights[1] == 1.0)


def test_activation_checkpointing_changes_no_number(config):
    trainer.train(replace(config, steps=3))
    again = replace(config, steps=3, output=config.output + "_2")
    again = replace(again, runtime=replace(config.runtime, activation_checkpointing=True))
    folder = trainer.train(again)
    assert losses(again) == pytest.approx(losses(config), rel=1e-5)
    assert load_checkpoint(folder)


def test_mixed_precision_learns_nearly_the_same(config):
    trainer.train(replace(config, steps=3))
    mixed = replace(config, steps=3, output=config.output + "_mixed")
    trainer.train(replace(mixed, runtime=replace(config.runtime, precision="bf16-mixed")))
    assert losses(mixed) == pytest.approx(losses(config), rel=1e-2)
    assert losses(mixed) != losses(config)


def test_a_schedule_in_hours_ends(config):
    trainer.train(replace(config, hours=1.0 / 3600))
    assert losses(config)


def test_frozen_blocks_do_not_move(config):
    vit = learner_of(config).model.backbone.pretrained
    assert not any(p.requires_grad for p in vit.blocks[0].parameters())
    assert all(p.requires_grad for p in vit.blocks[1].parameters())


def test_layers_learn_at_their_own_rates(config):
    learner = learner_of(replace(config, frozen_blocks=0))
    options = replace(config.optimiser, backbone_learning_rate=1e-3, learning_rate=1e-2, layer_decay=0.5)
    optimiser = make_optimiser(learner, 4, options)
    rate = {id(p): g["base"] for g in optimiser.param_groups for p in g["params"]}
    vit = learner.model.backbone.pretrained
    found = [rate[id(vit.blocks[i].mlp.fc1.weight)] for i in range(4)]
    assert found == pytest.approx([1.25e-4, 2.5e-4, 5e-4, 1e-3])
    assert rate[id(vit.pos_embed)] == pytest.approx(6.25e-5)
    assert rate[id(learner.model.cam_dec.fc_t.weight)] == pytest.approx(1e-2)
    decay = {id(p): g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    assert decay[id(vit.camera_token)] == decay[id(vit.norm.weight)] == 0
    assert decay[id(vit.blocks[0].mlp.fc1.weight)] > 0


def test_warm_up_and_cosine(config):
    options = replace(config.optimiser, warmup=10, floor=0.1)
    assert rate_factor(0, 0.0, options) == pytest.approx(0.1)
    assert rate_factor(50, 0.5, options) == pytest.approx(0.55)
    assert rate_factor(100, 1.0, options) == pytest.approx(0.1)


def test_the_average_swaps_in_and_out():
    layer = torch.nn.Linear(2, 2)
    average = MovingAverage(layer, decay=0.5)
    start = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.add_(1.0)
    average.update(1000)
    with average.swapped():
        torch.testing.assert_close(layer.weight.detach(), start + 0.5)
    torch.testing.assert_close(layer.weight.detach(), start + 1.0)


def test_the_moving_average_is_what_is_exported(config):
    folder = trainer.train(replace(config, optimiser=replace(config.optimiser, learning_rate=1e-2, warmup=1)))
    newest = sorted(Path(config.output).glob("step_*"))[-1]
    raw, mean = (torch.load(newest / f"{n}.ckpt", weights_only=True)["learner"] for n in ("state", "average"))
    exported = load_checkpoint(folder).state_dict()
    key = "cam_dec.fc_t.weight"
    torch.testing.assert_close(exported[key], mean[f"model.{key}"])
    assert (exported[key] - raw[f"model.{key}"]).abs().max() > 1e-4


def test_a_run_is_exported_by_its_configuration(config, tmp_path, capsys):
    exported = load_checkpoint(trainer.train(config)).state_dict()
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(asdict(config)))
    main(["export", str(path), "-o", str(tmp_path / "mine")])
    assert capsys.readouterr().out.strip().endswith("mine")
    for key, value in load_checkpoint(tmp_path / "mine").state_dict().items():
        torch.testing.assert_close(value, exported[key])
    with pytest.raises(SystemExit, match="elsewhere holds no checkpoint"):
        main(["export", str(path), f"output={tmp_path / 'elsewhere'}"])


def test_a_bad_step_is_skipped_and_harms_nothing(config, monkeypatch):
    original, calls = tasks.Learner.forward, []

    def bad_once(self, batch):
        calls.append(1)
        result = original(self, batch)
        return result._replace(loss=result.loss * float("nan")) if len(calls) == 3 else result

    monkeypatch.setattr(tasks.Learner, "forward", bad_once)
    folder = trainer.train(config)
    log = read_log(config.output)
    assert [math.isfinite(log[step]["norm"]) for step in range(6)] == [True, True, False, True, True, True]
    assert all(torch.isfinite(value).all() for value in load_checkpoint(folder).state_dict().values())


def test_metric_students_learn_from_metric_depth_alone(config, micros):
    stage = replace(config.stages[0], samples=replace(config.stages[0].samples, view_counts=(1,)))
    run = replace(config, task="metric", preset="micro-single", stages=(stage,))
    learner = learner_of(run)
    batch = Sampler([SceneSet("rooms", Path(config.data[0].root))], stage.samples, 0)[0]
    assert learner(batch).terms["depth"] > 0
    without = learner(replace(batch, metric=torch.zeros_like(batch.metric)))
    assert without.terms["depth"] == 0
    half = learner(replace(batch, intrinsics=batch.intrinsics * torch.tensor([0.5, 0.5, 1.0])[:, None]))
    assert half.terms["depth"] != pytest.approx(learner(batch).terms["depth"], rel=1e-3)  # the focal length counts


def test_ten_bad_steps_in_a_row_stop_the_run(config, monkeypatch):
    original = tasks.Learner.forward

    def bad(self, batch):
        result = original(self, batch)
        return result._replace(loss=result.loss * float("nan"))

    monkeypatch.setattr(tasks.Learner, "forward", bad)
    with pytest.raises(FloatingPointError, match="learning rate"):
        trainer.train(replace(config, steps=20))


def test_overfitting_one_batch_lowers_the_loss(config):
    """The whole path learns: images to losses to weights."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    learner = learner_of(config)
    options = replace(config.optimiser, learning_rate=3e-3, backbone_learning_rate=1e-3)
    optimiser = make_optimiser(learner, 4, options)
    batch = Sampler([SceneSet("rooms", Path(config.data[0].root))], config.stages[0].samples, 0)[0]
    values = []
    for _ in range(40):
        result = learner(batch)
        optimiser.zero_grad()
        result.loss.backward()
        optimiser.step()
        values.append(result.terms["depth"] + result.terms["camera"])
    assert values[-1] < 0.5 * values[0]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_are_valid_and_have_a_budget(path):
    from da3_training.run.budget import budget

    config = load_config(path, {"runtime.threads": 3, "stages.0.samples.max_depth": 9.0})
    assert (config.runtime.threads, config.stages[0].samples.max_depth) == (3, 9.0)
    assert "tokens a process" in budget(config)


def test_the_paper_s_numbers():
    config = load_config(CONFIGS / "paper_128gpu.yaml")
    samples = config.stages[0].samples
    assert (config.steps, config.optimiser.warmup, config.labels_from) == (200_000, 8_000, 120_000)
    assert (samples.base, samples.view_counts, samples.pose_probability) == (504, (2, 18), 0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: [{samples: {view_count: [2]}}]", "view_counts"),
        ("runtime: {activation_checkpointing: 1}", "true or false"),
        ("steps: many", "number"),
        ("task: student", "any_view, teacher"),
        ("stages: [{until: 0.5}]", "last one be 1"),
        ("labels_from: 5", "labels"),
    ],
)
def test_wrong_configurations_say_what_is_allowed(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config(path)


def test_broken_samples_are_skipped_counted_and_named(config):
    (Path(config.data[0].root) / "room_0" / "v1.jpg").write_bytes(b"broken")
    trainer.train(config)
    lines = (Path(config.output) / "broken.txt").read_text().splitlines()
    assert lines
    assert all("v1.jpg" in line for line in lines)


def test_every_line_of_the_log_is_json(config):
    trainer.train(replace(config, steps=2))
    for line in (Path(config.output) / LOG).read_text().splitlines():
        entry = json.loads(line)
        images = entry["views"][0] * entry["views"][1]
        assert entry["images_per_second"] == pytest.approx(images / entry["seconds"], rel=0.05)
