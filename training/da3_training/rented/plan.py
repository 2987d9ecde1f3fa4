# SPDX-License-Identifier: Apache-2.0
"""What is done on a rented machine, and how long each part may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da3_training.rented.cargo import PHOTOS, Cargo
from da3_training.rented.machine import Machine

MARGIN = 0.01
"""Share of a photograph's width within which a jump in depth is not learned from: most come from depth cameras."""
LAST = 5.0
"""Seconds for gathering what came out."""


@dataclass(frozen=True)
class Times:
    """Minutes of the whole, from the command's start to its last file, and of its parts."""

    all: float = 9.0
    check: float = 2.0
    """Of the proof on a GPU; 0: it is left out."""
    evaluate: float = 0.75

    def __post_init__(self) -> None:
        if self.train <= 0 or min(self.check, self.evaluate) < 0:
            raise ValueError(
                f"{self.all} minutes less {self.check} of check and {self.evaluate} of evaluation leave none to train"
            )

    @property
    def train(self) -> float:
        """What is left for training."""
        return self.all - self.check - self.evaluate - LAST / 60


def overrides(machine: Machine, cargo: Cargo, work: Path, out: Path, photos: float) -> dict[str, Any]:
    """What the configuration is told of this machine, as keys of `da3_training.config.load_config`.

    photos: share of the scenes that come from photographs where rooms are there, too. Raises RuntimeError where nothing
    can be trained on: rooms without a renderer.
    """
    data: list[dict[str, Any]] = []
    rooms = cargo.packs is not None and bool(machine.renderer)
    if rooms:
        data.append({"dataset": "studio", "root": str(cargo.packs), "weight": 1 - photos if cargo.photos else 1.0})
    if cargo.photos is not None:
        weight = photos if rooms else 1.0
        data.append({"dataset": "shards", "root": str(cargo.photos), "weight": weight, "margin": MARGIN})
    if not data:
        raise RuntimeError(
            f"there are rooms but nothing that renders ({machine.why}), and no {PHOTOS}: nothing to train on"
        )
    # The network's own process keeps a core busy, most of all with a GPU.
    workers = max(1, machine.cores - 1 if machine.cores > 2 else machine.cores)
    values: dict[str, Any] = {
        "data": data,
        "output": str(work / "run"),
        "local_shards": True,
        "studio.cache": str(work / "cache"),
        # Two lanes for each process: where they do not share out evenly, the busiest holds up the rest.
        "studio.lanes": 2 * workers,
        "runtime.pieces": str(out),
        "runtime.workers": workers,
        "runtime.precision": "bf16-mixed" if machine.gpu and machine.bf16 else "32-true",
        "runtime.threads": 1 if machine.gpu else machine.cores,
    }
    if cargo.start is not None:
        values["encoder"] = str(work / "start")
    return values


def in_words(machine: Machine, cargo: Cargo, times: Times) -> str:
    """What will be done."""
    check = f"{times.check:g} min: the GPU check (tools/gpu_check.py)" if times.check else "the GPU check is left out"
    scored = f"{times.evaluate:g} min: scores on the held-out pack" if cargo.heldout else "nothing is scored"
    steps = [check, f"{times.train:.2f} min: training", scored]
    lines = [*machine.lines(), *cargo.lines(), f"{times.all:g} minutes in all:", *(f"  {step}" for step in steps)]
    return "\n".join(lines)
