# SPDX-License-Identifier: Apache-2.0
"""Inference engines: one protocol, one file for each implementation."""

from da3_ros.engines.engine import (
    Engine,
    EngineChoice,
    EngineError,
    EngineInfo,
    RawEstimate,
    explain_engines,
    load_engine,
)

__all__ = ["Engine", "EngineChoice", "EngineError", "EngineInfo", "RawEstimate", "explain_engines", "load_engine"]
