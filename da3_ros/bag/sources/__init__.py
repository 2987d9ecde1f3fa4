# SPDX-License-Identifier: Apache-2.0
"""What was recorded without ROS, each kind by a small reader of one shape: pictures in order, cameras, poses, depth.

Read `source` (the shape), `find` (which reader a path is for), `given` (calibrations and poses that the user adds);
then the readers: `video`, `folders`, `colmap`, `euroc`, `kitti`, `kitti_raw`, `tum_rgbd`; what they share:
`texts` (tables, and times in them), `calibration` (files of calibrations), `matching` (whose they are), `poses` (files
of poses), `checks` (what is wrong or lacking, said), `stamps` (times that names tell), `pixels` (pictures, depth and
scans, read).
"""

from da3_ros.bag.sources.find import KINDS, find_source
from da3_ros.bag.sources.source import RIG, WORLD, Camera, DepthImages, Reading, Shot, Source, SourceError, Track

__all__ = [
    "KINDS",
    "RIG",
    "WORLD",
    "Camera",
    "DepthImages",
    "Reading",
    "Shot",
    "Source",
    "SourceError",
    "Track",
    "find_source",
]
