# SPDX-License-Identifier: Apache-2.0
"""Checkpoint to ONNX graphs that run without torch."""

from da3_ros.export.graph import export_checkpoint

__all__ = ["export_checkpoint"]
