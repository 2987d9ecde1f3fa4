# SPDX-License-Identifier: Apache-2.0
"""Sources of metric scale, one file each."""

from da3_ros.estimation.scale.source import FITS, SOURCES, ScaleConfig, ScaleSource

__all__ = ["FITS", "SOURCES", "ScaleConfig", "ScaleSource"]
