# SPDX-License-Identifier: Apache-2.0
"""The kinds of arrays that scenes are made of, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""Of single or double precision: positions, directions, sizes in metres, colours about 0..1."""
Indices = NDArray[np.integer[Any]]
"""Numbers of vertices or materials."""
Pixels = NDArray[np.uint8]
"""Of an image or texture."""
