# SPDX-License-Identifier: Apache-2.0
"""Where metres come from, one file a source."""

from da3_ros.estimation.scale.config import FITS, SOURCES, ScaleConfig
from da3_ros.estimation.scale.source import ScaleSource

__all__ = ["FITS", "SOURCES", "ScaleConfig", "ScaleSource"]
