# SPDX-License-Identifier: Apache-2.0
"""The loop beside what it learns: its time, its end, and that nothing in it waits for a device."""

from needs import needs

needs("lightning_fabric", "onnx", "safetensors", "torch", "tqdm")

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from developed import Sampler
from run_files import start, start_command, wait_for_steps
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.overrides import TorchFunctionMode

from da3_ros.network import load_checkpoint
from da3_training.config import MatchingConfig
from da3_training.data.samples import Sampler as RawSampler
from da3_training.datasets.registry import SceneSet
from da3_training.run import checkpoints, compiled, interrupts, stopwatch, tasks, trainer
from da3_training.run.clock import Clock
from da3_training.run.feeder import Feeder
from da3_training.run.interrupts import StoppedError, watched
from da3_training.run.monitor import LOG, Entry, read_numbers
from da3_training.run.optimiser import MovingAverage, make_optimiser, step_if_finite
from da3_training.run.pieces import join_pieces
from da3_training.run.stopwatch import PARTS, Stopwatch, bottleneck
from da3_training.run.tasks import Learner


def read(config):
    return [json.loads(line) for line in (Path(config.output) / LOG).read_text().splitlines()]


def learner_of(config):
    model = trainer.create_model(config.preset)
    trainer.initialise(model, config)
    return Learner(model, config)


# -- nothing waits


@pytest.mark.parametrize("task", ["any_view", "teacher"])
@pytest.mark.parametrize("posed", [False, True])
def test_no_number_of_a_step_is_read_by_the_processor(config, micros, task, posed):
    """On tensors without contents reading a number, and counting what a mask selects, raises."""
    views = 2 if task == "any_view" else 1
    samples = replace(config.stages[0].samples, view_counts=(views,), pose_probability=float(posed))
    matching = MatchingConfig(weight=0.2, block=3, heads=2, flow=1.0) if task == "any_view" else config.matching
    preset = config.preset if task == "any_view" else "micro-single"
    config = replace(config, task=task, preset=preset, matching=matching)
    learner = learner_of(config)
    optimiser = make_optimiser(learner, 4, config.optimiser)
    average = MovingAverage(learner, 0.9)
    batch = Sampler([SceneSet("rooms", Path(config.data[0].root))], samples, 0)[0]
    step_of(learner, optimiser, average, batch)  # AdamW makes its state in the first step
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = mode.from_tensor
        held = replace(batch, **{k: fake(v) for k, v in vars(batch).items() if isinstance(v, torch.Tensor)})
        with NoUploads():
            result, norm = step_of(learner, None, None, held)
        assert {"depth", "gradient"} <= set(result.terms)
        for waits in (lambda: float(norm), lambda: result.loss[result.loss > 0]):
            with pytest.raises((DataDependentOutputException, RuntimeError)):
                waits()


UPLOADS = (torch.tensor, torch.asarray, torch.as_tensor, torch.from_numpy, torch.Tensor.new_tensor)


class NoUploads(TorchFunctionMode):
    """Raises where a tensor is made of numbers of the processor: a GPU is waited for before it takes them."""

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        assert function not in UPLOADS, f"{function} takes numbers of the processor to the device"
        return function(*arguments, **(keywords or {}))


def step_of(learner, optimiser, average, batch):
    result = learner(batch)
    result.loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0, error_if_nonfinite=False)
    if optimiser is not None:
        step_if_finite(optimiser, norm)
        average.update(0)
    return result, norm


def test_batches_are_developed_without_reading_a_number(config):
    """Looks of every kind, on tensors without contents."""
    from da3_training.data.develop import develop

    samples = replace(config.stages[0].samples, views_per_batch=24, strong_looks=0.7)
    raw = RawSampler([SceneSet("rooms", Path(config.data[0].root))], samples, 0)[0]
    with FakeTensorMode() as mode:
        names = ("pictures", "depth", "marks", "intrinsics", "pose", "metric")
        out = develop(replace(raw, **{name: mode.from_tensor(getattr(raw, name)) for name in names}))
        assert out.images.shape == (12, 2, 3, 28, 42)


def test_the_log_is_read_every_so_many_steps(config, monkeypatch):
    """One line a step all the same."""
    reads = []
    monkeypatch.setattr(trainer, "read_numbers", lambda e: (reads.append([x.step for x in e]), read_numbers(e))[1])
    trainer.train(replace(config, runtime=replace(config.runtime, sync_steps=4)))
    assert reads == [[0, 1, 2, 3], [4, 5]]
    assert [line["step"] for line in read(config)] == list(range(6))
    trainer.train(replace(config, output=config.output + "_2", runtime=replace(config.runtime, sync_steps=1)))
    again = read(replace(config, output=config.output + "_2"))
    assert [line["loss"] for line in again] == [line["loss"] for line in read(config)]


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_that_is_not_finite_changes_nothing(fused):
    layer = torch.nn.Linear(3, 3)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=fused)
    for value in (1.0, float("nan"), float("inf"), 1.0):
        before = layer.weight.detach().clone()
        steps = {float(s["step"]) for s in optimiser.state.values()}
        for parameter in layer.parameters():
            parameter.grad = torch.full_like(parameter, value)
        step_if_finite(optimiser, torch.tensor(value))
        moved = not torch.equal(before, layer.weight)
        assert moved == (value == 1.0)
        assert torch.isfinite(layer.weight).all()
        if not moved:
            assert {float(s["step"]) for s in optimiser.state.values()} == steps


def test_the_truth_is_not_rounded_with_the_network(config, monkeypatch):
    """In mixed precision: what losses compare with stays in single precision, and so do their own products."""
    seen = {}
    original = tasks.any_view_loss

    def look(out, scene, loss):
        rotation = scene.pose[..., :3, :3]
        seen.update(dtype=scene.depth.dtype, off=(torch.linalg.det(rotation) - 1).abs().max().item())
        seen["product"] = (rotation @ rotation).dtype
        return original(out, scene, loss)

    monkeypatch.setattr(tasks, "any_view_loss", look)
    samples = replace(config.stages[0].samples, pose_probability=1.0)
    stages = (replace(config.stages[0], samples=samples),)
    trainer.train(replace(config, steps=1, stages=stages, runtime=replace(config.runtime, precision="bf16-mixed")))
    assert seen["dtype"] == seen["product"] == torch.float32
    assert seen["off"] < 1e-5


# -- time


def test_the_time_of_a_step_is_split(config):
    trainer.train(config)
    lines = read(config)
    for line in lines:
        assert set(line["times"]) == set(PARTS)
        assert line["times"]["forward"] > line["times"]["transfer"]
    # Seconds are a mean over steps, and a busy machine may take the processor away between two parts of one.
    parts, whole = sum(sum(line["times"].values()) for line in lines), sum(line["seconds"] for line in lines)
    assert 0.3 * whole < parts < 1.1 * whole + 0.05


def test_what_holds_a_run_up_is_said_at_its_end(config, caplog):
    with caplog.at_level(logging.INFO):
        trainer.train(config)
    said = [r.getMessage() for r in caplog.records if "images/s; of the time" in r.getMessage()]
    assert len(said) == 1
    assert "The network itself is the limit" in said[0]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"data": 6.0, "forward": 1.5, "backward": 2.0}, "waited for data: 3 processes"),
        ({"data": 0.3, "forward": 4.0, "backward": 5.0, "optimiser": 0.5}, "network itself is the limit: 95%"),
        ({"data": 0.3, "forward": 1.0, "backward": 1.0}, "idled 80% of the time"),
    ],
)
def test_the_bottleneck_in_words(parts, words):
    said = bottleneck({**parts, "seconds": 10.0}, 1000, 3, busy=24.0)
    assert said.startswith("100.0 images/s")
    assert words in said
    assert ("worked 80%" in said) == ("waited" in words)


def test_a_slow_loader_is_seen_as_data(config, monkeypatch):
    original = RawSampler.__getitem__
    monkeypatch.setattr(RawSampler, "__getitem__", lambda self, i: (time.sleep(0.3), original(self, i))[1])
    trainer.train(replace(config, steps=3))
    assert all(0.3 <= line["times"]["data"] < 0.6 for line in read(config))


def test_a_checkpoint_is_not_part_of_a_step(config, monkeypatch):
    original = checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda *a: (time.sleep(0.5), original(*a))[1])
    trainer.train(replace(config, steps=4, runtime=replace(config.runtime, checkpoint_minutes=0.0)))
    assert all(line["seconds"] < 0.5 for line in read(config)[1:])


def test_the_clock_leaves_time_to_write():
    clock = Clock(hours=100 / 3600, spent=30.0, began=time.monotonic() - 20.0)
    assert clock.spent == pytest.approx(50.0, abs=0.5)
    assert clock.progress == pytest.approx(50 / 96, abs=0.01)
    clock.wrote(10.0)
    clock.wrote(1.0)
    assert clock.progress == pytest.approx(50 / 80, abs=0.01)
    clock.wrote(1000.0)
    assert clock.progress == pytest.approx(1.0, abs=0.01)  # half of the time is for training all the same


def test_the_process_s_start_is_known():
    code = "import time; time.sleep(1); from da3_training.run.clock import process_start; print(process_start())"
    there = {**os.environ, "PYTHONPATH": str(Path(trainer.__file__).parents[2])}
    begun = time.monotonic()
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=there, check=True)
    assert float(process.stdout) == pytest.approx(begun, abs=0.5)


@pytest.mark.slow
def test_hours_hold_from_the_command_s_start_to_its_last_file(run_file, micros):
    path = run_file("timed", 4, 10**9, hours=12 / 3600)
    begun = time.monotonic()
    assert start_command(path, DA3_TEST_PAUSE="0.2").wait() == 0
    took = time.monotonic() - begun
    assert 8 < took < 15
    assert load_checkpoint(path.with_suffix("") / "export")


# -- ends


@pytest.mark.slow
def test_sigterm_ends_with_a_checkpoint_and_the_same_command_goes_on(run_file):
    path = run_file("asked", 4, 400)
    process = start(path)
    wait_for_steps(path, 10)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == interrupts.EXIT_CODE == 143
    said = process.said.read_text()
    step = int(checkpoints.newest(path.with_suffix("")).name.removeprefix(checkpoints.PREFIX))
    assert 10 <= step < 400
    assert f"a checkpoint of step {step}" in said
    assert "images/s; of the time" in said
    path.write_text(path.read_text().replace("steps: 400", f"steps: {step + 3}"))
    assert start(path).wait() == 0
    steps = [json.loads(line)["step"] for line in (path.with_suffix("") / LOG).read_text().splitlines()]
    assert steps == list(range(step + 3))


def test_a_signal_within_the_block_is_kept_and_the_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with watched() as asked:
        assert not asked()
        signal.raise_signal(signal.SIGTERM)
        assert asked()
    assert signal.getsignal(signal.SIGTERM) is before
    seen = []

    def elsewhere():
        with watched() as asked:
            seen.append(asked())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [False]


def test_what_was_learned_is_kept_where_data_fail(config, monkeypatch):
    original = Feeder.take
    taken = []

    def fail(feeder, watch):
        taken.append(1)
        if len(taken) == 4:
            raise RuntimeError("process 0 of the studio ended")
        return original(feeder, watch)

    monkeypatch.setattr(Feeder, "take", fail)
    with pytest.raises(RuntimeError, match="process 0 of the studio ended"):
        trainer.train(config)
    assert checkpoints.newest(Path(config.output)).name == f"{checkpoints.PREFIX}{3:09d}"
    monkeypatch.setattr(Feeder, "take", original)
    trainer.train(config)
    assert [line["step"] for line in read(config)] == list(range(6))


def test_a_run_that_is_asked_to_end_says_so_and_goes_on(config, monkeypatch):
    original = trainer._Run._learn

    def ask(run, batch, progress):
        if run.step == 2:
            signal.raise_signal(signal.SIGTERM)
        return original(run, batch, progress)

    monkeypatch.setattr(trainer._Run, "_learn", ask)
    with pytest.raises(StoppedError, match="checkpoint of step 3"):
        trainer.train(config)
    monkeypatch.setattr(trainer._Run, "_learn", original)
    trainer.train(config)
    assert [line["step"] for line in read(config)] == list(range(6))


# -- compilation


def test_compiled_blocks_learn_the_same(config, monkeypatch):
    """Through the whole of torch.compile but for the code that it writes. Blocks of one kind share what is compiled:
    frozen ones, one with rotary positions, one across views.
    """
    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **options: original(f, backend="aot_eager", **options))
    config = replace(config, steps=3, frozen_blocks=2)
    trainer.train(config)
    again = replace(config, output=config.output + "_2", runtime=replace(config.runtime, compile=True))
    trainer.train(again)
    assert [line["loss"] for line in read(again)] == pytest.approx([line["loss"] for line in read(config)], rel=1e-4)


def test_compilation_that_fails_is_given_up_aloud(config, monkeypatch, caplog):
    def broken(graph, inputs):
        raise RuntimeError("no compiler here")

    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **options: original(f, backend=broken, **options))
    runtime = replace(config.runtime, compile=True)
    trainer.train(replace(config, steps=3, runtime=runtime))
    said = [r.getMessage() for r in caplog.records if "torch.compile failed" in r.getMessage()]
    assert len(said) == 1
    assert "no compiler here" in said[0]
    trainer.train(replace(config, steps=3, output=config.output + "_2"))
    again = read(replace(config, output=config.output + "_2"))
    assert [line["loss"] for line in read(config)] == pytest.approx([line["loss"] for line in again], rel=1e-6)


def test_what_fails_without_compilation_as_well_raises(config):
    learner = learner_of(config)
    blocks = compiled.CompiledBlocks(learner.model)
    with pytest.raises(ZeroDivisionError):
        blocks.run(lambda: 1 / 0)


# -- records


def test_numbers_of_many_steps_are_read_at_once(monkeypatch):
    entries = [
        Entry(i, 0.1, {"loss": torch.tensor(float(i)), "norm": torch.tensor([2.0 * i])}, (1, 1), (14, 14), False, ())
        for i in range(3)
    ]
    assert read_numbers(entries) == [{"loss": float(i), "norm": 2.0 * i} for i in range(3)]
    assert read_numbers([]) == []


def test_pictures_are_files_and_tensorboard_need_not_be_there(config, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with caplog.at_level(logging.INFO):
        trainer.train(config)
    pictures = sorted(p.name for p in (Path(config.output) / "pictures").iterdir())
    assert pictures == ["step_000000000.png", "step_000000004.png"]
    assert "no TensorBoard" in caplog.text


def test_steps_in_all_are_the_time_between_readings(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 10.0, 14.0, 20.0, 50.0, 52.0, 53.0, 54.0])
    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(monotonic=lambda: next(now)))
    watch = Stopwatch(torch.device("cpu"))
    for _ in range(2):
        watch.step()
        with watch.part("forward"):
            pass
    assert watch.steps() == [{"forward": 2.0, "seconds": 10.0}, {"forward": 4.0, "seconds": 10.0}]
    watch.pause()
    watch.step()
    with watch.part("data", host=True):
        pass
    assert watch.steps() == [{"data": 1.0, "seconds": 4.0}]


# -- pieces


def test_every_checkpoint_is_exported_in_pieces(config, micros, tmp_path, monkeypatch):
    written = []
    original = trainer.export_in_pieces
    monkeypatch.setattr(trainer, "export_in_pieces", lambda *a: (written.append(1), original(*a)))
    runtime = replace(config.runtime, pieces=str(tmp_path / "pieces"), checkpoint_minutes=0.0)
    folder = trainer.train(replace(config, steps=3, runtime=runtime))
    assert len(written) == 4
    manifest = join_pieces(tmp_path / "pieces", tmp_path / "joined")
    assert manifest.metadata == {"step": "3"}
    joined, whole = (load_checkpoint(path).state_dict() for path in (tmp_path / "joined", folder))
    for key, value in whole.items():
        torch.testing.assert_close(joined[key], value.half().float())


def test_pieces_that_cannot_be_written_do_not_end_the_run(config, tmp_path, caplog):
    (tmp_path / "full").write_text("a file where a folder should be")
    trainer.train(replace(config, steps=2, runtime=replace(config.runtime, pieces=str(tmp_path / "full"))))
    assert "no pieces of step 2" in caplog.text
    assert len(read(config)) == 2
