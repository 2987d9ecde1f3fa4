# SPDX-License-Identifier: Apache-2.0
"""This project's own scenes: rendered rooms, and records made from bags."""

from __future__ import annotations

from pathlib import Path

from da3_training.data.records import load_room as load_scene

__all__ = ["LAYOUT", "find_scenes", "load_scene"]

LAYOUT = "<scene>/scene.json beside its images and depth (`da3-train scenes`, `da3-train from-bag`)"


def find_scenes(root: Path) -> list[Path]:
    """Complete scenes: `scene.json` is written last."""
    return [path.parent for path in root.glob("*/scene.json")]
