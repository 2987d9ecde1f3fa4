# SPDX-License-Identifier: Apache-2.0
"""The rendered walk of one camera whose motion nobody knows: depth of `da3 bag --chunk`, which has one unit along the
way, but not the metre. Trajectories on it are compared after a similarity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sequence import ALONE, REFINED, TRUE, Depths, Estimated, Frame, Sequence3D, as_estimates
from walk import Walk
from walk_bag import PERIOD_NS, START_NS, write_walk_bag

from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.estimation import ViewEstimate
from da3_ros.estimation.views import PoseEstimate
from da3_ros.geometry import CameraModel
from da3_ros.messages import decode_camera_info, decode_depth, stamp_to_ns

WALK = "walk"
CHUNK, OVERLAP = 8, 4
"""As in `benchmark/kiss_icp_walk.py` and `benchmark/bag_trajectory.py`."""
DEPTH, INFO = "/da3/camera/depth/image_rect", "/da3/camera/depth/camera_info"


def one_camera(rig: Sequence3D) -> Sequence3D:
    """What the first camera of a rig saw, and nothing known of where it was."""
    frames = tuple(
        Frame(number * PERIOD_NS / 1e9, frame.views[:1], frame.truth[:1], frame.poses[:1])
        for number, frame in enumerate(rig.frames)
    )
    notes = f"depth of `da3 bag --chunk {CHUNK} --overlap {OVERLAP}`, in one unit that is not the metre"
    return Sequence3D(WALK, "rendered walk, its left camera alone", frames, level=True, notes=notes)


def estimate_walk(sequence: Sequence3D, model: str, scratch: Path) -> Estimated:
    """Its depth by `da3 bag`, refined and not, beside the true one. scratch: an empty folder for the bags."""
    source = scratch / "walk"
    images = np.stack([frame.views[0].image for frame in sequence.frames])
    truths = np.stack([frame.truth[0].depth for frame in sequence.frames])
    camera = sequence.frames[0].truth[0].camera
    write_walk_bag(Walk(camera, images, truths, np.stack(sequence.followed)), source)
    kinds: dict[str, Depths] = {}
    for kind, refinement in ((ALONE, "none"), (REFINED, "auto")):
        output = scratch / refinement
        options = Options(outputs=("camera/depth/image_rect", "camera/depth/camera_info"), chunk=CHUNK, overlap=OVERLAP)
        assignments = (f"refinement.source:={refinement}",)
        reprocess(Request(source, output, assignments=assignments, model=model, options=options))
        kinds[kind] = [
            (_estimate(frame, *found),) for frame, found in zip(sequence.frames, read_depths(output), strict=True)
        ]
    kinds[TRUE] = as_estimates(sequence, kinds[ALONE])
    return Estimated(sequence, kinds, {TRUE: 1.0, ALONE: 0.0, REFINED: 0.0})


def read_depths(bag: Path) -> list[tuple[NDArray[np.float32], CameraModel]]:
    """Depth (h, w) and its camera of each frame of a bag of ours, in order; stamps must be those of the walk.

    Raises ValueError where a frame is missing.
    """
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    depths: dict[int, NDArray[np.float32]] = {}
    cameras: dict[int, CameraModel] = {}
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_KILTED)) as reader:
        for connection, _, raw in reader.messages([c for c in reader.connections if c.topic in (DEPTH, INFO)]):
            message: Any = reader.deserialize(raw, connection.msgtype)
            number = (stamp_to_ns(message.header.stamp) - START_NS) // PERIOD_NS
            if connection.topic == DEPTH:
                depths[number] = decode_depth(message)
            else:
                cameras[number] = decode_camera_info(message, rectified=True)
    expected = list(range(len(depths)))
    if sorted(depths) != expected or sorted(cameras) != expected:
        raise ValueError(f"{bag} has depth of frames {sorted(depths)} and cameras of {sorted(cameras)}: one is missing")
    return [(depths[i], cameras[i]) for i in expected]


def _estimate(frame: Frame, depth: NDArray[np.float32], camera: CameraModel) -> ViewEstimate:
    view, (height, width) = frame.views[0], depth.shape
    small: Any = cv2.resize(view.image, (width, height), interpolation=cv2.INTER_AREA)
    nowhere = PoseEstimate(np.eye(4), "none", np.zeros((6, 6)))
    return ViewEstimate(view.name, view.stamp_ns, small, depth, np.ones_like(depth), camera, nowhere)
