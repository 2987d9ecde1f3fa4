# SPDX-License-Identifier: Apache-2.0
"""The command and the node leave the cores to the engine."""

import os
import subprocess
import sys

import numpy as np
import pytest

from da3_ros.blas import VARIABLE


def threads(module: str, asked: str | None) -> int:
    """Of a process that has imported a module and multiplied matrices."""
    multiply = "np.ones((500, 500)) @ np.ones((500, 500))"
    code = f"import os, {module}, numpy as np; {multiply}; print(*os.listdir('/proc/self/task'))"
    own = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", VARIABLE)}
    own |= {} if asked is None else {VARIABLE: asked}
    run = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True, timeout=120)
    return len(run.stdout.split())


@pytest.mark.parametrize("module", ["da3_ros.cli.main", "da3_ros.node.multi_cam"])
def test_matrices_are_multiplied_in_the_thread_that_asks_unless_the_environment_says_otherwise(module):
    if module.startswith("da3_ros.node"):
        pytest.importorskip("rclpy")
    alone, two = threads(module, "1"), threads(module, "2")
    if alone == two:
        name = np.show_config("dicts")["Build Dependencies"]["blas"]["name"]
        pytest.skip(f"NumPy is built with {name}, whose threads {VARIABLE} does not name, or there is one core")
    assert threads(module, None) == alone
