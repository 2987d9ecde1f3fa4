# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run: whole or not there at all, the newest two kept, everything that an exact resume needs."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from da3_training.run.optimiser import MovingAverage
from da3_training.run.tasks import Learner

PREFIX = "step_"
PROGRESS = "progress.json"
"""Step and seconds spent, for who does not want to read the weights."""
KEPT = 2


def newest(output: Path) -> Path | None:
    """Folder of the last complete checkpoint in `output`."""
    found = sorted(output.glob(f"{PREFIX}*"), key=lambda p: p.name)
    found = [p for p in found if p.is_dir() and not p.name.endswith(".part")]
    return found[-1] if found else None


def save(
    fabric: Fabric, output: Path, learner: Any, optimiser: Any, average: MovingAverage, step: int, spent: float
) -> Path:
    """Write ``step_<number>``: weights, optimiser and counters in one file, averaged weights in another.

    All processes take part. The folder gets its name when both files are complete.
    """
    folder = output / f"{PREFIX}{step:09d}"
    part = folder.with_name(folder.name + ".part")
    if fabric.global_rank == 0:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    fabric.barrier()
    state = {
        "learner": learner,
        "optimiser": optimiser,
        "step": step,
        "spent": spent,
    }
    fabric.save(part / "state.ckpt", state)
    with average.swapped():
        fabric.save(part / "average.ckpt", {"learner": learner})
    fabric.barrier()
    if fabric.global_rank == 0:
        (part / PROGRESS).write_text(json.dumps({"step": step, "spent": spent}))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
        complete = sorted(p for p in output.glob(f"{PREFIX}*") if not p.name.endswith(".part"))
        for old in complete[:-KEPT]:
            shutil.rmtree(old)
    fabric.barrier()
    return folder


def resume(fabric: Fabric, output: Path, learner: Any, optimiser: Any, average: MovingAverage) -> tuple[int, float]:
    """Load the newest checkpoint; returns the next step and the seconds spent before, or (0, 0.0) for a new run.

    Batches, and what is drawn on the device, follow from the seed and the step: no position and no state of a generator
    has to be stored.
    """
    folder = newest(output)
    if folder is None:
        return 0, 0.0
    fabric.load(folder / "average.ckpt", {"learner": learner})
    average.load_from_module()
    # Not strict: with FSDP that would ask for optimiser state of parameters that no step has used yet, such as those of
    # the camera encoder before the first known cameras. The file above has shown that the weights fit.
    rest = fabric.load(folder / "state.ckpt", {"learner": learner, "optimiser": optimiser}, strict=False)
    return int(rest["step"]), float(rest["spent"])


def load_average(output: Path, learner: Learner) -> int:
    """Put the averaged weights of the newest checkpoint into `learner`; returns its step."""
    folder = newest(output)
    if folder is None:
        raise FileNotFoundError(f"{output} holds no checkpoint: train first")
    state = torch.load(folder / "average.ckpt", map_location="cpu", weights_only=True)
    learner.load_state_dict(state["learner"])
    return int(folder.name.removeprefix(PREFIX))


def seed_everything(seed: int, *more: int) -> None:
    """Seed torch, on all devices, and Python, from these numbers; NumPy's generators are made where they are used."""
    mixed = int(np.random.SeedSequence((seed, *more)).generate_state(1, np.uint64)[0] >> np.uint64(1)) if more else seed
    torch.manual_seed(mixed)
    random.seed(mixed)
