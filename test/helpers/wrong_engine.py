# SPDX-License-Identifier: Apache-2.0
"""An engine whose answers are spoilt: what 16-bit arithmetic, a bad plan or a bad driver may return."""

from __future__ import annotations

import dataclasses

import numpy as np
from known_depth import RECORD

from da3_ros.engines import EngineInfo, RawEstimate
from da3_ros.estimation import Estimator


class WrongEngine:
    """Asks another engine and lets `spoil` change its answer, from the call number `since` on."""

    def __init__(self, engine, spoil, *, since=0, backend="TensorRT 10.3 fp16 test", **info):
        self._engine, self._spoil, self._since = engine, spoil, since
        self.info = dataclasses.replace(engine.info, backend=backend, **info)
        self.calls = 0

    def run(self, *arguments) -> RawEstimate:
        raw = self._engine.run(*arguments)
        self.calls += 1
        return self._spoil(raw) if self.calls > self._since else raw


def changed(name, change):
    """A spoiler: `change` works on a copy of the array `name` of the answer."""

    def spoil(raw: RawEstimate) -> RawEstimate:
        values = getattr(raw, name).copy()
        change(values)
        return dataclasses.replace(raw, **{name: values})

    return spoil


def pixels(share, value, *, views=slice(None), name="depth"):
    """A spoiler: a share of the pixels of some views, spread evenly, takes a value."""

    def change(values):
        rng = np.random.default_rng(0)
        bad = rng.uniform(size=values.shape[1:]) < share
        values[views, bad] = value

    return changed(name, change)


def estimator_of(scene, spoil, **engine):
    """Stands for Estimator.from_model: the wall of wrong_depth, seen by a spoilt engine."""

    def load(model, config):
        del model
        return Estimator(WrongEngine(scene.engine(), spoil, **engine), RECORD, config)

    return load


def info(backend="test", **more) -> EngineInfo:
    """What an engine says of itself."""
    return EngineInfo("fake", backend, False, 14, "0" * 64, **more)
