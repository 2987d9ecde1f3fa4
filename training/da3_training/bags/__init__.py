# SPDX-License-Identifier: Apache-2.0
"""Recordings of a robot as training records: images, depth of a depth camera or a LiDAR, poses.

Read `convert` (the whole way), `options` (what is taken), `topics` (which topic gives what), `poses` (where the
cameras are), `depth_maps` (depth of an image's pixels), `depth_messages` (how depth lies in messages), `scene` (the
folder that comes out).
"""

from da3_training.bags.convert import convert
from da3_training.bags.options import BagOptions
from da3_training.bags.topics import find_sources

__all__ = ["BagOptions", "convert", "find_sources"]
