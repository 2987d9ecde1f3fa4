# SPDX-License-Identifier: Apache-2.0
"""``da3-train from-bag BAG OUT``: a recording with images, depth or LiDAR, and poses becomes records."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.topics import table
from da3_training.bags.convert import convert, rows
from da3_training.bags.options import BagOptions
from da3_training.bags.topics import find_sources, pose_topics

NUMBERS = {
    "longest": "longest side of stored images",
    "max_depth": "metres; farther depth is unknown",
    "max_skew": "seconds between an image and depth registered to it",
    "max_age": "seconds between an image and a cloud or another depth camera",
    "max_gap": "seconds between the two poses around an image",
    "motion": "metres; a camera that moved less ...",
    "turn": "... and turned less (degrees) gives no new record",
    "least_depth": "smallest share of pixels with depth",
    "views": "most views of a cluster",
    "pause": "seconds without a record that begin a new cluster",
}


def main(arguments: list[str]) -> None:
    """Write records of a rosbag (MCAP, sqlite3, ROS 1) into OUT/NAME; train on them as data set `bags` of root OUT."""
    parser = argparse.ArgumentParser(prog="da3-train from-bag", description=main.__doc__)
    parser.add_argument("bag", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", default="", help="folder below OUT, default: the bag's name")
    parser.add_argument("--cameras", nargs="+", default=[], help="default: every calibrated camera that has depth")
    parser.add_argument("--depth", nargs="+", default=[], metavar="CAMERA=TOPIC", help="depth topic of a camera")
    parser.add_argument("--points", default="", metavar="TOPIC", help="cloud of a LiDAR")
    parser.add_argument("--world", default="", metavar="FRAME", help="fixed frame, default: odom, map or world")
    parser.add_argument("--pose-topic", default="", help="Odometry or pose topic in place of TF")
    parser.add_argument("--pose-frame", default="", help="what it is the pose of, default: its child frame, base_link")
    defaults = {f.name: f.default for f in fields(BagOptions)}
    for name, text in NUMBERS.items():
        kind = type(defaults[name])
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=kind, default=defaults[name], help=f"{text} ({defaults[name]})")
    parser.add_argument("--dry-run", action="store_true", help="show cameras and their depth, write nothing")
    given = parser.parse_args(arguments)
    depth = [tuple(item.partition("=")[::2]) for item in given.depth]
    if any(not camera or not topic for camera, topic in depth):
        raise ValueError(f"--depth {given.depth}: give CAMERA=TOPIC")
    options = BagOptions(
        cameras=tuple(given.cameras),
        depth=tuple(depth),
        cloud=given.points,
        world=given.world,
        pose_topic=given.pose_topic,
        pose_frame=given.pose_frame,
        **{name: getattr(given, name) for name in NUMBERS},
    )
    if given.dry_run:
        with Recording(given.bag) as recording:
            lines = [("camera", "images", "depth", "depth camera_info")]
            lines += [
                (s.name, s.camera.topic, s.depth_topic or s.cloud_topic, s.depth_info or "-")
                for s in find_sources(recording, options)
            ]
            print(table(lines))
            print(f"topics of poses besides TF: {', '.join(pose_topics(recording)) or 'none'}")
        return
    print("\n".join(rows(convert(given.bag, given.out, options, given.name))))
