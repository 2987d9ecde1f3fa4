# SPDX-License-Identifier: Apache-2.0
"""The real node, whose engine fails while the file named by the first argument exists."""

import sys
from pathlib import Path

from da3_ros.estimation import Estimator
from da3_ros.node.multi_cam import main


class FailingEngine:
    """Another engine, which raises what a driver raises when the device is lost."""

    def __init__(self, engine, marker):
        self.engine, self.marker = engine, marker

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def run(self, *arguments, **options):
        if self.marker.exists():
            raise RuntimeError("CUDA error 719: unspecified launch failure")
        return self.engine.run(*arguments, **options)


def load(model, config):
    """The real estimator on such an engine."""
    estimator = Estimator.from_model(model, config)
    estimator.engine = FailingEngine(estimator.engine, Path(sys.argv[1]))
    return estimator


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], load))
