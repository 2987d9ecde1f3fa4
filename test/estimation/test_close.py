# SPDX-License-Identifier: Apache-2.0
"""An estimator that is not needed any more gives everything back."""

import threading
import weakref

import numpy as np
from known_depth import KnownDepthEngine

from da3_ros.estimation import Estimator
from da3_ros.estimation.refinement.graph_sweep import GraphSweeper
from da3_ros.models import find_model


class Closing:
    """Something with memory of a GPU."""

    backend = "a GPU"

    def __init__(self):
        self.closed = 0

    def close(self):
        self.closed += 1


def matching():
    return [thread for thread in threading.enumerate() if thread.name.startswith("da3 matching")]


def engine():
    return KnownDepthEngine([np.ones((14, 14), np.float32)], np.eye(4)[None])


def test_the_engine_the_sweep_and_the_thread_are_given_back():
    program, network = Closing(), engine()
    network.close = program.close
    before = len(matching())
    estimator = Estimator(network, find_model("da3-nano")[0], sweeper=GraphSweeper(program))
    estimator._beside.submit(np.eye, 3).result()
    assert len(matching()) == before + 1
    estimator.close()
    assert len(matching()) == before
    assert program.closed == 2


def test_an_engine_that_cannot_be_closed_is_freed_though_its_estimator_is_still_known():
    network = engine()
    seen = weakref.ref(network)
    estimator = Estimator(network, find_model("da3-nano")[0])
    estimator.close()
    del network
    assert seen() is None
    assert estimator.config.max_range > 0
