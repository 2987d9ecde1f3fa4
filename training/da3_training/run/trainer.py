# SPDX-License-Identifier: Apache-2.0
"""The training loop on Lightning Fabric: one process or many, DDP or FSDP, exact resume."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from da3_ros.network import create_model, save_checkpoint
from da3_training.config import SHARDS, TrainConfig
from da3_training.data.samples import Batch, Sampler, decode_threads
from da3_training.datasets.registry import SceneSet
from da3_training.run import checkpoints
from da3_training.run.initial import initialise
from da3_training.run.monitor import Monitor
from da3_training.run.networks import trainable
from da3_training.run.optimiser import MovingAverage, make_optimiser, rate_factor
from da3_training.run.parallel import make_fabric, recompute_blocks
from da3_training.run.tasks import Learner, check_matching_block
from da3_training.shards import ShardSet, StreamSampler

log = logging.getLogger(__name__)

LOG = "log.jsonl"
BAD_STEPS = 10


def train(config: TrainConfig) -> Path:
    """Train to the end of the schedule, resuming from the output folder; returns the folder of exported weights.

    Steps whose gradient is not finite are skipped by all processes and counted; ten in a row stop the run with
    FloatingPointError. ``log.jsonl`` has one line a step.
    """
    torch.set_num_threads(config.runtime.threads)
    checkpoints.seed_everything(config.runtime.seed)
    fabric = make_fabric(config.runtime)
    fabric.launch()
    output = Path(config.output)
    sets = open_sets(config)
    for scenes in sets:
        if scenes.info.evaluation_only:
            raise ValueError(f"{scenes.dataset} is for evaluation only: take it out of `data`")
    learner, optimiser, average = _set_up(fabric, config)
    step, spent = checkpoints.resume(fabric, output, learner, optimiser, average)
    if fabric.global_rank == 0:
        output.mkdir(parents=True, exist_ok=True)
        scenes_count = sum(len(s) for s in sets)
        log.info("%d scenes, %d processes, step %d, %.2f h spent", scenes_count, fabric.world_size, step, spent / 3600)
    fabric.barrier()
    with Monitor(output if fabric.global_rank == 0 else None, step, config.runtime.picture_steps) as monitor:
        step = _loop(fabric, config, sets, learner, optimiser, average, monitor, step, spent)
    return export(fabric, config, learner, average, step)


def open_sets(config: TrainConfig) -> list[SceneSet] | list[ShardSet]:
    """The data sets of a run; raises FileNotFoundError for one that is not there, naming its layout."""
    if all(entry.dataset == SHARDS for entry in config.data):
        return [ShardSet(entry.root) for entry in config.data]
    return [SceneSet(entry.dataset, Path(entry.root)) for entry in config.data]


def _set_up(fabric: Fabric, config: TrainConfig) -> tuple[Any, Any, MovingAverage]:
    model = trainable(create_model(config.preset))
    if config.matching.weight > 0:
        check_matching_block(model, config.matching)
    initialise(model, config)
    learner = Learner(model, config)
    learner.train()
    if config.runtime.activation_checkpointing:
        recompute_blocks(learner)
    wrapped = fabric.setup_module(learner)
    optimiser = fabric.setup_optimizers(make_optimiser(wrapped, model.preset.depth, config.optimiser))
    return wrapped, optimiser, MovingAverage(wrapped, config.optimiser.ema)


def _loop(
    fabric: Fabric,
    config: TrainConfig,
    sets: list[SceneSet] | list[ShardSet],
    learner: Any,
    optimiser: Any,
    average: MovingAverage,
    monitor: Monitor,
    step: int,
    spent: float,
) -> int:
    bad = 0
    mark = saved = time.monotonic()
    batches: Iterator[Batch] = iter(())
    part = None
    while (progress := _progress(fabric, config, step, spent)) < 1:
        if part != (part := _part(config, step, progress)):
            batches = _batches(fabric, config, sets, step, *part)
        batch = next(batches).to(fabric.device)
        rate = rate_factor(step, progress, config.optimiser)
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * rate
        result = learner(batch)
        optimiser.zero_grad(set_to_none=True)
        fabric.backward(result.loss)
        gradient = fabric.clip_gradients(learner, optimiser, max_norm=config.optimiser.clip, error_if_nonfinite=False)
        assert gradient is not None  # as it is without max_norm
        norm = gradient.item()
        # Gradients are averaged over the processes: what is not finite on one is so on all.
        if math.isfinite(norm):
            bad = 0
            optimiser.step()
            average.update(step)
        else:
            bad += 1
            log.warning("step %d skipped: its gradient is not finite (loss %s)", step, result.loss.item())
            if bad >= BAD_STEPS:
                raise FloatingPointError(f"{BAD_STEPS} steps in a row were not finite: lower the learning rate")
        now = time.monotonic()
        spent, seconds, mark = spent + now - mark, now - mark, now
        loss = fabric.all_reduce(result.loss.detach(), reduce_op="mean")
        assert isinstance(loss, Tensor)  # like what went in
        monitor.write(step, loss.item(), norm, rate, seconds, batch, result)
        step += 1
        if _agreed(fabric, now - saved > 60 * config.runtime.checkpoint_minutes):
            checkpoints.save(fabric, Path(config.output), learner, optimiser, average, step, spent)
            saved = time.monotonic()
    checkpoints.save(fabric, Path(config.output), learner, optimiser, average, step, spent)
    return step


def _progress(fabric: Fabric, config: TrainConfig, step: int, spent: float) -> float:
    if not config.hours:
        return step / config.steps
    return float(fabric.broadcast(spent / (3600 * config.hours)))


def _agreed(fabric: Fabric, yes: bool) -> bool:
    """What the first process says: clocks differ."""
    return bool(fabric.broadcast(yes)) if fabric.world_size > 1 else yes


def _part(config: TrainConfig, step: int, progress: float) -> tuple[int, bool]:
    """Stage and whether labels are in force."""
    stage = next(i for i, s in enumerate(config.stages) if progress < s.until or i == len(config.stages) - 1)
    return stage, 0 <= config.labels_from <= step


def _batches(
    fabric: Fabric,
    config: TrainConfig,
    sets: list[SceneSet] | list[ShardSet],
    step: int,
    stage: int,
    labelled: bool,
) -> Iterator[Batch]:
    samples, seed = config.stages[stage].samples, config.runtime.seed
    weights = [entry.weight for entry in config.data]
    taught = [labelled and bool(entry.labels) for entry in config.data]
    rank, world = fabric.global_rank, fabric.world_size
    workers = config.runtime.workers
    options: dict[str, Any] = {
        "batch_size": None,
        "num_workers": workers,
        "prefetch_factor": 3 if workers else None,
        "worker_init_fn": _start_worker if workers else None,
        "pin_memory": fabric.device.type == "cuda",
    }
    shards = [s for s in sets if isinstance(s, ShardSet)]
    if shards:
        stream = StreamSampler(shards, samples, seed, weights, taught, rank, world, step)
        return iter(DataLoader(stream, **options))
    labels = [Path(entry.labels) if use else None for entry, use in zip(config.data, taught, strict=True)]
    scenes = [s for s in sets if isinstance(s, SceneSet)]
    sampler = Sampler(scenes, samples, seed, weights, labels, rank, world)
    return iter(DataLoader(sampler, sampler=range(step, len(sampler)), **options))


def _start_worker(number: int) -> None:
    torch.set_num_threads(1)
    decode_threads(1)


def export(fabric: Fabric, config: TrainConfig, learner: Any, average: MovingAverage, step: int) -> Path:
    """Write the moving average as a checkpoint folder that `da3_ros` loads; returns it."""
    folder = Path(config.output) / "export"
    fabric.barrier()
    if fabric.global_rank == 0:
        export_average(config)
    fabric.barrier()
    return folder


def export_average(config: TrainConfig, folder: Path | None = None) -> Path:
    """The averaged weights of the newest checkpoint of a run, without what training added, in `folder`.

    folder: default ``<output>/export``; returned.
    """
    plain = Learner(trainable(create_model(config.preset)), config)
    step = checkpoints.load_average(Path(config.output), plain)
    folder = folder or Path(config.output) / "export"
    save_checkpoint(plain.model, folder, metadata={"step": str(step)})
    return folder


def read_log(output: Path) -> dict[int, dict[str, Any]]:
    """The log of a run by step; of steps done again after a resume, the last."""
    lines = (output / LOG).read_text().splitlines()
    return {entry["step"]: entry for entry in map(json.loads, lines)}
