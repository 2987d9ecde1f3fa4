# SPDX-License-Identifier: Apache-2.0
"""The numbers of the camera that takes a rendered scene: drawn by `da3_training.scenes.sensor`, where nothing needs
PyTorch, and used by `exposure`.
"""

from __future__ import annotations

COLOUR_RANGE = 4.0
"""Linear colour that the square root in bytes ends at."""
BRIGHTNESS, GAIN, WHITE, GAMMA, CONTRAST, SATURATION, VIGNETTE, BLUR = (0, 1, 2, 5, 6, 7, 8, 9)
LENGTH, ANGLE, NOISE, SHADE, QUALITY, SEED, LENS = (10, 11, 12, 13, 14, 15, 16)
"""Where the numbers of a camera begin in its row; GAIN is that of the view, LENGTH and ANGLE of its motion, LENS the
coefficient of radial distortion."""
NUMBERS = LENS + 1
SEEDS = 1 << 24
"""Of noise; single precision holds whole numbers up to here."""
