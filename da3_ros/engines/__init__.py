# SPDX-License-Identifier: Apache-2.0
"""Inference engines: images of a scene in, raw geometry out, behind one protocol.

Read `engine` (the protocol, its data, its error), `files` (names in a model's folder), `graph_file` and `graphs` (ONNX
graphs and what engines of them share), then one implementation: `onnxruntime`, `openvino`, or `tensorrt` with `plan`
(built engines on disk), `guard` (is there a GPU), `cuda` (its driver) and `program` (a plan that runs); `scenes`
(several sets in one call); then `choose` (which of them runs a model here, and why). The plane sweep of the
refinement is a program, too: `sweep` (its protocol and arrays), `onnx_sweep`, `tensorrt_sweep`, `sweep_programs` (which
of them is here).
"""

from da3_ros.engines.choose import EngineChoice, explain_engines, load_engine
from da3_ros.engines.engine import Engine, EngineError, EngineInfo, RawEstimate

__all__ = ["Engine", "EngineChoice", "EngineError", "EngineInfo", "RawEstimate", "explain_engines", "load_engine"]
