# SPDX-License-Identifier: Apache-2.0
"""The steps of an estimate: what goes from one to the next, so that several sets may be at different steps at once."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines import RawEstimate
from da3_ros.engines.scenes import Scene
from da3_ros.estimation.config import EstimatorConfig
from da3_ros.estimation.preprocess import Prepared
from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.estimation.views import (
    EngineFault,
    Estimate,
    OdometryEstimate,
    PoseEstimate,
    RigDeviation,
    ScaleEstimate,
    View,
    ViewSet,
)

KnownCameras = tuple[NDArray[Any] | None, ...]
"""T_camera_world (S, 4, 4) and intrinsics (S, 3, 3) for the engine, or None twice; where not all are known, also which
(S,) bool."""


@dataclass(frozen=True)
class Task:
    """A view set as the engine takes it."""

    views: tuple[View, ...]
    odometry: bool
    """Whether the motion is to be followed."""
    prepared: Prepared
    known: KnownCameras
    milliseconds: float
    """Of the preparation."""

    @property
    def scene(self) -> Scene:
        """Arguments of the engine."""
        return Scene(self.prepared.images, *self.known)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Sets of equal shape may go through the engine together."""
        return self.scene.shape


@dataclass(frozen=True)
class Inferred:
    """What the engine says of a task."""

    raw: RawEstimate
    milliseconds: float
    """Of the engine; its share where several sets went through it at once."""


class Result(Protocol):
    """Something that is computed already, or when it is asked for."""

    def result(self) -> Any: ...


class Later:
    """Computes when it is asked for; has the face of a future."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._function, self._arguments = function, arguments

    def result(self) -> Any:
        """The value; ask once."""
        return self._function(*self._arguments)


@dataclass(frozen=True)
class Measured:
    """What is measured in the images of a set, without the network."""

    samples: Result
    matches: Result
    motion: Result | None
    rig: Result


@dataclass(frozen=True)
class Settled:
    """A set whose scale and poses are known. What is left depends on no other set."""

    task: Task
    raw: RawEstimate
    depths: list[NDArray[np.float32]]
    """(h, w) of each view, in metres where the scale is known."""
    scale: ScaleEstimate
    poses: list[PoseEstimate]
    motion: OdometryEstimate | None
    rig: tuple[RigDeviation, ...] | None
    corners: list[SparseDepth] | None
    """What was triangulated in each view."""
    config: EstimatorConfig
    """By which the set goes, whatever is changed meanwhile."""
    milliseconds: dict[str, float]
    faults: tuple[EngineFault, ...] = ()
    """What the engine said that cannot be."""


class Stages:
    """Wall time of consecutive stages, after those that are given in milliseconds."""

    def __init__(self, **given: float) -> None:
        self.milliseconds = dict(given)
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """The time since the last lap went into stage `name`."""
        now = time.perf_counter()
        self.milliseconds[name] = (now - self._last) * 1e3
        self._last = now


@dataclass(frozen=True)
class _Whole:
    view_set: ViewSet
    odometry: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Sets of equal shape may go through the second step together."""
        return (len(self.view_set.views),)


class InOneStep(ABC):
    """Gives the steps of `Estimator` to something that estimates a set in one call: all of it happens in `settle`."""

    def close(self) -> None:  # noqa: B027 - most have nothing to do here
        """See `Estimator.close`: nothing to give back."""

    def prepare(self, view_set: ViewSet, *, odometry: bool = False) -> Any:
        """See `Estimator.prepare`."""
        return _Whole(view_set, odometry)

    def infer(self, tasks: Sequence[Any]) -> list[Any]:
        """See `Estimator.infer`."""
        return [None] * len(tasks)

    def check_batch(self, count: int, views: int) -> None:
        """See `Estimator.check_batch`: any number will do, they are done one by one."""
        del count, views

    def settle(self, task: Any, inferred: Any) -> Any:
        """See `Estimator.settle`."""
        del inferred
        return self(task.view_set, odometry=task.odometry)

    def begin(self, view_set: ViewSet, *, odometry: bool = False) -> Any:
        """See `Estimator.begin`."""
        return self(view_set, odometry=odometry)

    def finish(self, settled: Any) -> Estimate:
        """See `Estimator.finish`."""
        return settled

    @abstractmethod
    def __call__(self, view_set: ViewSet, *, odometry: bool = False) -> Estimate:
        """See `Estimator.__call__`."""
