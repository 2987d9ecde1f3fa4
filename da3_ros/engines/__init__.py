# SPDX-License-Identifier: Apache-2.0
"""Inference engines: one protocol, one file for each implementation."""

from da3_ros.engines.engine import Engine, EngineError, EngineInfo, RawEstimate, load_engine

__all__ = ["Engine", "EngineError", "EngineInfo", "RawEstimate", "load_engine"]
