# SPDX-License-Identifier: Apache-2.0
"""Who sweeps: all frames of a level at once, by the CPU code or by something that does the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from da3_ros.engines.engine import EngineError
from da3_ros.estimation.refinement.frame import Frame
from da3_ros.estimation.refinement.side_by_side import side_by_side
from da3_ros.estimation.refinement.sweep import Found, Rules, Steps, sweep


@dataclass(frozen=True)
class Job:
    """One frame to be swept."""

    frame: Frame
    others: Sequence[Frame]
    """At least one."""
    steps: Steps


Sweeper: TypeAlias = Callable[[Sequence[Job], Rules], list[Found]]
"""What was found in each frame, in order. May be called from any thread, from several at once."""


def on_the_cpu(jobs: Sequence[Job], rules: Rules) -> list[Found]:
    """By `sweep`, frame by frame, on several cores."""
    return side_by_side(lambda k: sweep(jobs[k].frame, jobs[k].others, jobs[k].steps, rules), range(len(jobs)))


def refused(jobs: Sequence[Job], rules: Rules) -> list[Found]:
    """In place of `on_the_cpu` where a graph is tried: what it cannot do is an EngineError."""
    del rules
    raise EngineError(f"the graph of the sweep did not do {len(jobs)} frames, its words are above")
