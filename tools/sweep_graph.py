# SPDX-License-Identifier: Apache-2.0
"""The plane sweep as a graph: ``python tools/sweep_graph.py`` writes da3_ros/engines/sweep.onnx."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from da3_ros.engines.sweep import GRAPH
from da3_ros.export.sweep import sweep_graph

if __name__ == "__main__":
    GRAPH.write_bytes(sweep_graph().SerializeToString())
