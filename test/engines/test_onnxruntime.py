# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime: what it is told takes effect."""

from needs import needs

needs("onnx", "onnxruntime")

import os
import sys

import numpy as np
import pytest
from tiny_model import write_model

from da3_ros.engines.onnxruntime import OnnxRuntimeEngine
from da3_ros.estimation import Estimator, EstimatorConfig
from da3_ros.stream.parameters import SPECS, camera_specs, read_parameters

IMAGES = np.zeros((2, 28, 42, 3), np.uint8)


def threads_of(make):
    """What `make` makes, and how many threads this process has more with it."""
    before = set(os.listdir("/proc/self/task"))
    made = make()
    return made, len(set(os.listdir("/proc/self/task")) - before)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted by /proc")
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_parameter_says_how_many_threads_there_are(tmp_path, monkeypatch, threads):
    """From `inference.threads` to the session; the one that calls is one of them."""
    monkeypatch.setenv("DA3_ENGINE", "onnxruntime")
    folder = write_model(tmp_path)
    specs = {spec.name: spec.default for spec in (*SPECS, *camera_specs("left"))}
    values = {"cameras": ["left"], "inference.threads": threads, "inference.size": 42, "refinement.source": "none"}
    config = read_parameters(lambda name: values.get(name, specs[name])).estimator
    estimator, more = threads_of(lambda: Estimator.from_model(str(folder), config))
    assert more == threads - 1
    # The graph for known cameras is opened when it is needed first.
    assert isinstance(estimator.engine, OnnxRuntimeEngine)
    cameras = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1)), np.tile(np.eye(3, dtype=np.float32), (2, 1, 1))
    _, more = threads_of(lambda: estimator.engine.run(IMAGES, *cameras))
    assert more == threads - 1


def test_another_number_of_threads_needs_another_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("DA3_ENGINE", "onnxruntime")
    estimator = Estimator.from_model(str(write_model(tmp_path)), EstimatorConfig(size=42, threads=1))
    with pytest.raises(ValueError, match="threads cannot change while the engine runs"):
        estimator.reconfigure(EstimatorConfig(size=42, threads=2))
