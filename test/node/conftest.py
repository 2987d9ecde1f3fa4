# SPDX-License-Identifier: Apache-2.0
"""The node in this process, with a fake estimator, and a peer on the same DDS domain."""

import pytest


@pytest.fixture
def bench():
    from node_bench import Bench

    made = []

    def make(estimator_options=None, *, estimator=None, **parameters):
        values = {"cameras": ["left", "right"], "diagnostics.period": 0.2, "watchdog.timeout": 1.0}
        values.update({name.replace("__", "."): value for name, value in parameters.items()})
        made.append(Bench(values, estimator_options or {}, **({"make": estimator} if estimator else {})))
        return made[-1]

    yield make
    for item in made:
        item.close()
