# SPDX-License-Identifier: Apache-2.0
"""Recordings of a robot as training records: images, depth of a depth camera or a LiDAR, poses."""

from da3_training.bags.convert import convert
from da3_training.bags.options import BagOptions
from da3_training.bags.topics import find_sources

__all__ = ["BagOptions", "convert", "find_sources"]
