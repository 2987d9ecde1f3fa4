# SPDX-License-Identifier: Apache-2.0
"""The sweep of a whole level in one call of a graph, where a GPU runs the network."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.sweep import MARGIN, WINDOW, SweepProgram, SweepShape
from da3_ros.estimation.refinement.frame import Map
from da3_ros.estimation.refinement.sweep import Found, Rules
from da3_ros.estimation.refinement.sweeper import Job, Sweeper, on_the_cpu
from da3_ros.geometry.poses import invert

log = logging.getLogger(__name__)


class GraphSweeper:
    """A `Sweeper` on a program. What it cannot run, and all from its first failure on, is done by `instead`: a set is
    never lost. Both are said once.
    """

    def __init__(self, program: SweepProgram, instead: Sweeper = on_the_cpu) -> None:
        self.program, self._instead = program, instead
        self._failed = self._told = False

    def __call__(self, jobs: Sequence[Job], rules: Rules) -> list[Found]:
        """See `Sweeper`."""
        if not jobs or self._failed:
            return self._instead(jobs, rules)
        need = needed(jobs)
        shape = self.program.fit(need) if rules.window == WINDOW else None
        if shape is None:
            if not self._told:
                self._told = True
                log.warning("%s has no sweep for %s: the CPU does such", self.program.backend, need)
            return self._instead(jobs, rules)
        found: list[Found] = []
        try:
            for first in range(0, len(jobs), shape.frames):
                part = jobs[first : first + shape.frames]
                found += found_in(part, self.program(feed(part, rules, shape)))
        except Exception as error:  # whatever it is, the set must not be lost
            self._failed = True
            log.warning("the sweep on %s failed, the CPU does it from now on: %s", self.program.backend, error)
            return self._instead(jobs, rules)
        return found


def needed(jobs: Sequence[Job]) -> SweepShape:
    """Shape of a call that holds all jobs."""
    greys = [frame.grey for job in jobs for frame in (job.frame, *job.others)]
    return SweepShape(
        frames=len(jobs),
        others=max(len(job.others) for job in jobs),
        depths=max(job.steps.count for job in jobs),
        height=max(grey.shape[0] for grey in greys),
        width=max(grey.shape[1] for grey in greys),
    )


def feed(jobs: Sequence[Job], rules: Rules, shape: SweepShape) -> dict[str, NDArray[np.float32]]:
    """Inputs of the graph by name; places of `shape` that no job takes are empty."""
    arrays = {name: np.zeros(sides, np.float32) for name, sides in shape.inputs().items()}
    arrays["last"][:] = -1
    arrays["places"][:] = np.arange(shape.depths)
    arrays["rules"][:] = rules.score, rules.margin, rules.texture
    for b, job in enumerate(jobs):
        frame, steps = job.frame, job.steps
        camera, (h, w) = frame.camera, frame.grey.shape
        arrays["steps"][b] = steps.first, steps.size, steps.count
        unit = np.ones((h, w), np.float32) if steps.unit is None else steps.unit
        for name, plane in (("grey", frame.grey), ("log_depth", frame.log_depth), ("unit", unit)):
            arrays[name][b, : h + 2 * MARGIN, : w + 2 * MARGIN] = _with_margin(plane)
        arrays["x"][b, : w + 2 * MARGIN] = np.pad((np.arange(w) - camera.cx) / camera.fx, MARGIN, "reflect")
        arrays["y"][b, : h + 2 * MARGIN] = np.pad((np.arange(h) - camera.cy) / camera.fy, MARGIN, "reflect")
        for j, other in enumerate(job.others):
            rows, columns = other.grey.shape
            arrays["others"][b, j, :rows, :columns] = other.grey
            arrays["projections"][b, j] = other.camera.K @ (invert(other.pose) @ frame.pose)[:3]
            arrays["last"][b, j] = columns - 1, rows - 1
    return arrays


def found_in(jobs: Sequence[Job], outputs: dict[str, NDArray[np.float32]]) -> list[Found]:
    """What the graph's outputs say of each job."""
    found = []
    for b, job in enumerate(jobs):
        h, w = job.frame.grey.shape
        own = {name: values[b, :h, :w] for name, values in outputs.items()}
        accepted, ambiguous = own["accepted"] > 0.5, own["ambiguous"] > 0.5
        found.append(Found(own["found"], accepted, own["pixels_per_log"], ambiguous))
    return found


def _with_margin(plane: Map) -> Map:
    sides = (MARGIN,) * 4
    return np.asarray(cv2.copyMakeBorder(plane, *sides, cv2.BORDER_REFLECT_101), np.float32)
