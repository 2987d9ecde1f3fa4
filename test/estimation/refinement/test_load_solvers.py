# SPDX-License-Identifier: Apache-2.0
"""SciPy's solvers take long to load: commands that refine nothing do not, and no set waits for it."""

from needs import needs

needs("mcap", "onnxruntime", "rosbags", "scipy")

import subprocess
import sys

import pytest

LOOK = """
import sys
import da3_ros.cli.main, da3_ros.bag.run.reprocess
from da3_ros.estimation import Estimator, EstimatorConfig, RefinementConfig
SOLVERS = "scipy.sparse.linalg", "scipy.spatial"
print([name in sys.modules for name in SOLVERS])
Estimator.from_model("da3-nano", EstimatorConfig(threads=1, refinement=RefinementConfig(sys.argv[1])))
print([name in sys.modules for name in SOLVERS])
"""


@pytest.mark.parametrize("source", ["auto", "none"])
def test_they_are_loaded_with_the_model_where_anything_is_refined(source):
    done = subprocess.run([sys.executable, "-c", LOOK, source], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[False, False]", "[True, True]" if source == "auto" else "[False, False]"]
