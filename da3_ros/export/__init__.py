# SPDX-License-Identifier: Apache-2.0
"""Checkpoint to ONNX graphs that run without torch, and graphs to TensorRT plans.

Read `graph` (the whole export), `trace` (a network as a graph), `weights` (that stay in the checkpoint), `precision`
(16 bits), `fused` (operators of a CPU), `scenes` (several sets at once); then plans: `ladder` (which precisions are
tried), `build` (one plan), `gate` (is it as good), `bfloat16` (the same question of a processor), `record` (what was
done). The plane sweep is a graph, too: `sweep` (the graph), `formula` (how it is written), `sweep_plan` (its plan).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from da3_ros.export.graph import export_checkpoint

__all__ = ["export_checkpoint"]


def __getattr__(name: str) -> Any:
    # Plans are built on robots, which have no torch: only who exports a checkpoint imports it.
    if name == "export_checkpoint":
        from da3_ros.export.graph import export_checkpoint

        return export_checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
