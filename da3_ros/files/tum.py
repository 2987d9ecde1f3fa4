# SPDX-License-Identifier: Apache-2.0
"""Trajectories in the format of the TUM RGB-D benchmark: a line a pose, ``seconds x y z qx qy qz qw``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.poses import from_rotation_translation, matrix_from_quaternion


def read_tum(path: Path) -> list[tuple[float, NDArray[np.float64]]]:
    """Seconds and T_world_body (4, 4) of each line; empty lines and those that begin with ``#`` are left out.

    Raises ValueError, with file and line, for one that is no pose; OSError for a file that cannot be read.
    """
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        values = _numbers(words)
        if values is None:
            raise ValueError(
                f"{path}, line {number}: {line.strip()!r} is no pose; wanted eight numbers: seconds, "
                "x y z in metres, and a quaternion x y z w that is not zero"
            )
        rotation = matrix_from_quaternion(values[4:])
        found.append((float(values[0]), np.asarray(from_rotation_translation(rotation, values[1:4]), np.float64)))
    return found


def _numbers(words: list[str]) -> NDArray[np.float64] | None:
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        return None
    good = len(values) == 8 and np.isfinite(values).all() and np.linalg.norm(values[4:]) > 0.5
    return values if good else None
