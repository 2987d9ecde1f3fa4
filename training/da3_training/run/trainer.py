# SPDX-License-Identifier: Apache-2.0
"""The training loop on Lightning Fabric: one process or many, DDP or FSDP, exact resume, and no waiting for the device
but to write the log."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.distributed.tensor import DTensor

from da3_ros.network import create_model, save_checkpoint
from da3_ros.network.backbone import Attention
from da3_training.config import TrainConfig
from da3_training.data.batch import Batch
from da3_training.run import checkpoints
from da3_training.run.clock import Clock
from da3_training.run.compiled import CompiledBlocks
from da3_training.run.feeder import Feeder
from da3_training.run.initial import initialise
from da3_training.run.interrupts import StoppedError, watched
from da3_training.run.monitor import Entry, Monitor, read_numbers
from da3_training.run.networks import trainable
from da3_training.run.optimiser import MovingAverage, make_optimiser, rate_factor, step_if_finite
from da3_training.run.parallel import make_fabric, recompute_blocks
from da3_training.run.pieces import write_pieces
from da3_training.run.stopwatch import PARTS, Stopwatch, bottleneck
from da3_training.run.tasks import Learner, Result, check_matching_block
from da3_training.studio.sources import open_sources

log = logging.getLogger(__name__)

BAD_STEPS = 10


def train(config: TrainConfig, began: float | None = None) -> Path:
    """Train to the end of the schedule, resuming from the output folder; returns the folder of exported weights.

    began: when the time of this run began, on the clock of `time.monotonic`; default: now. Steps whose gradient is not
    finite are skipped by all processes and counted; ten in a row stop the run with FloatingPointError. ``log.jsonl``
    has one line a step. Raises StoppedError after SIGTERM, when a checkpoint is written.
    """
    began = time.monotonic() if began is None else began
    torch.set_num_threads(config.runtime.threads)
    checkpoints.seed_everything(config.runtime.seed)
    fabric = make_fabric(config.runtime)
    fabric.launch()
    output = Path(config.output)
    sources = open_sources(config)
    with Feeder(config, sources, fabric.device, fabric.global_rank, fabric.world_size) as feeder, watched() as asked:
        run = _Run(fabric, config, feeder, began)
        if fabric.global_rank == 0:
            output.mkdir(parents=True, exist_ok=True)
            scenes = f"{sum(len(s) for s in sources)} scenes{', rooms without end' if config.has_studio else ''}"
            spent = run.clock.spent / 3600
            log.info("%s, %d processes, step %d, %.3f h spent", scenes, fabric.world_size, run.step, spent)
        fabric.barrier()
        with Monitor(output if fabric.global_rank == 0 else None, run.step) as monitor:
            ended = run.loop(monitor, asked)
        if fabric.global_rank == 0 and run.images:
            log.info("%s", run.bottleneck())
        if ended:
            return export(fabric, config)
    raise StoppedError(f"asked to end: a checkpoint of step {run.step} is in {output}, the same command goes on")


class _Run:
    """What a loop holds: network, optimiser, where it is, and what it has not yet written down."""

    def __init__(self, fabric: Fabric, config: TrainConfig, feeder: Feeder, began: float) -> None:
        self.fabric, self.config, self.feeder = fabric, config, feeder
        model = trainable(create_model(config.preset))
        if config.matching.weight > 0:
            check_matching_block(model, config.matching)
        initialise(model, config)
        learner = Learner(model, config)
        learner.train()
        if config.runtime.activation_checkpointing:
            recompute_blocks(learner)
        self.compiled = CompiledBlocks(model, _tapped(model, config)) if config.runtime.compile else None
        self.learner: Any = fabric.setup_module(learner)
        fused = config.runtime.strategy != "fsdp"
        self.optimiser: Any = fabric.setup_optimizers(
            make_optimiser(self.learner, model.preset.depth, config.optimiser, fused)
        )
        self.average = MovingAverage(self.learner, config.optimiser.ema)
        output = Path(config.output)
        self.step, spent = checkpoints.resume(fabric, output, self.learner, self.optimiser, self.average)
        self.clock = Clock(config.hours, spent, began)
        self.watch = Stopwatch(fabric.device)
        self.pending: list[Entry] = []
        self.bad = self.images = 0
        self.total: dict[str, float] = dict.fromkeys((*PARTS, "seconds"), 0.0)

    def loop(self, monitor: Monitor, asked: Callable[[], bool]) -> bool:
        """Train; returns whether it ended by itself, not because that was `asked` for."""
        config, part = self.config, None
        saved = time.monotonic()
        while (progress := self._progress()) < 1:
            if _agreed(self.fabric, asked()):
                self._save(monitor)
                return False
            if part != (part := _part(config, self.step, progress)):
                self.feeder.start(self.step, *part)
            self.watch.step()
            batch = self._take(monitor)
            result = self._learn(batch, progress)
            if config.runtime.picture_steps and self.step % config.runtime.picture_steps == 0:
                monitor.picture(self.step, batch, result.depth)
            self.step += 1
            if self.step % config.runtime.sync_steps == 0:
                self._write(monitor)
            if _agreed(self.fabric, time.monotonic() - saved > 60 * config.runtime.checkpoint_minutes):
                self._save(monitor)
                saved = time.monotonic()
        self._save(monitor)
        return True

    def _take(self, monitor: Monitor) -> Batch:
        """The next batch. Where there is none, what was learned is kept: the same command goes on from this step."""
        try:
            return self.feeder.take(self.watch)
        except (OSError, RuntimeError, ValueError):
            self.watch.drop()
            if self.fabric.world_size == 1:  # the other processes would have to take part
                with suppress(OSError, RuntimeError):  # of a device that fails, too: then the last checkpoint must do
                    self._save(monitor)
            raise

    def _learn(self, batch: Batch, progress: float) -> Result:
        """One step. Nothing here waits for the device."""
        config, fabric = self.config, self.fabric
        rate = rate_factor(self.step, progress, config.optimiser)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * rate

        def passes() -> Result:
            # What is drawn on the device (dropped features) follows from the step, too; also in a second attempt, where
            # compiling has failed.
            checkpoints.seed_everything(config.runtime.seed, self.step, fabric.global_rank)
            self.optimiser.zero_grad(set_to_none=True)
            with self.watch.part("forward"):
                result: Result = self.learner(batch)
            with self.watch.part("backward"):
                fabric.backward(result.loss)
            return result

        result = self.compiled.run(passes) if self.compiled is not None else passes()
        with self.watch.part("optimiser"):
            norm = fabric.clip_gradients(
                self.learner, self.optimiser, max_norm=config.optimiser.clip, error_if_nonfinite=False
            )
            assert norm is not None  # as it is without max_norm
            if isinstance(norm, DTensor):  # of shards, as FSDP has them
                norm = norm.full_tensor()
            # Gradients are averaged over the processes: what is not finite on one is so on all.
            step_if_finite(self.optimiser, norm)
            self.average.update(self.step)
        loss = fabric.all_reduce(result.loss.detach(), reduce_op="mean")
        assert isinstance(loss, Tensor)  # like what went in
        self.pending.append(Entry.of(self.step, rate, batch, loss=loss, norm=norm, **result.terms))
        return result

    def _write(self, monitor: Monitor) -> None:
        """Wait for the device, and write down what it did since the last time."""
        numbers = read_numbers(self.pending)
        times = self.watch.steps()
        monitor.write(self.pending, numbers, times)
        for parts in times:
            for name, seconds in parts.items():
                self.total[name] += seconds
        for entry, values in zip(self.pending, numbers, strict=True):
            self.images += entry.views[0] * entry.views[1]
            if math.isfinite(values["norm"]):
                self.bad = 0
                continue
            self.bad += 1
            log.warning("step %d skipped: its gradient is not finite (loss %s)", entry.step, values["loss"])
            if self.bad >= BAD_STEPS:
                raise FloatingPointError(f"{BAD_STEPS} steps in a row were not finite: lower the learning rate")
        self.pending.clear()

    def _save(self, monitor: Monitor) -> None:
        self._write(monitor)
        begun = time.monotonic()
        output, pieces = Path(self.config.output), self.config.runtime.pieces
        checkpoints.save(self.fabric, output, self.learner, self.optimiser, self.average, self.step, self.clock.spent)
        if pieces and self.fabric.global_rank == 0:
            try:
                export_in_pieces(self.config, Path(pieces))
            except (OSError, ValueError) as error:  # the run itself is well: its checkpoint has been written
                log.error("no pieces of step %d in %s, the older ones stay: %s", self.step, pieces, error)
        self.fabric.barrier()
        self.clock.wrote(time.monotonic() - begun)
        self.watch.pause()

    def _progress(self) -> float:
        if not self.config.hours:
            return self.step / self.config.steps
        return float(self.fabric.broadcast(self.clock.progress))

    def bottleneck(self) -> str:
        """What held the run up, in words."""
        crew = self.feeder.crew
        return bottleneck(self.total, self.images, self.config.runtime.workers, None if crew is None else crew.busy)


def _tapped(model: Any, config: TrainConfig) -> Attention | None:
    """The attention whose inside is supervised."""
    matching = config.matching
    if config.task != "any_view" or not (matching.weight > 0 or matching.flow > 0):
        return None
    attention = model.backbone.pretrained.blocks[matching.block].attn
    assert isinstance(attention, Attention)
    return attention


def _agreed(fabric: Fabric, yes: bool) -> bool:
    """What the first process says: clocks differ."""
    return bool(fabric.broadcast(yes)) if fabric.world_size > 1 else yes


def _part(config: TrainConfig, step: int, progress: float) -> tuple[int, bool]:
    """Stage and whether labels are in force."""
    stage = next(i for i, s in enumerate(config.stages) if progress < s.until or i == len(config.stages) - 1)
    return stage, 0 <= config.labels_from <= step


def export(fabric: Fabric, config: TrainConfig) -> Path:
    """Write the moving average as a checkpoint folder that `da3_ros` loads; returns it."""
    folder = Path(config.output) / "export"
    fabric.barrier()
    if fabric.global_rank == 0:
        export_average(config)
    fabric.barrier()
    return folder


def export_in_pieces(config: TrainConfig, folder: Path) -> None:
    """The averaged weights of the newest checkpoint of a run in half precision, as pieces in `folder`."""
    plain = Learner(trainable(create_model(config.preset)), config)
    step = checkpoints.load_average(Path(config.output), plain)
    write_pieces(plain.model, folder, {"step": str(step)})


def export_average(config: TrainConfig, folder: Path | None = None) -> Path:
    """The averaged weights of the newest checkpoint of a run, without what training added, in `folder`.

    folder: default ``<output>/export``; returned.
    """
    plain = Learner(trainable(create_model(config.preset)), config)
    step = checkpoints.load_average(Path(config.output), plain)
    folder = folder or Path(config.output) / "export"
    save_checkpoint(plain.model, folder, metadata={"step": str(step)})
    return folder
