# SPDX-License-Identifier: Apache-2.0
"""Small scenes for the 3D view of reports."""

import cv2
import numpy as np

from da3_ros.bag.report.scene3d import Camera, Moment, Track, pack
from da3_ros.estimation.clouds import Cloud
from da3_ros.geometry import CameraModel

MODEL = CameraModel.pinhole(64, 48, 50.0, 50.0, 31.5, 23.5)
RED, BLUE = (220, 30, 30), (30, 30, 220)


def a_cloud(points, *, doubt=None, confidence=None, colours=None, view=None):
    """A cloud of these points (N, 3), or of so many."""
    if isinstance(points, int):
        points = np.random.default_rng(points).normal(0, 1, (points, 3)).astype(np.float32)
    n = len(points)
    if colours is None:
        colours = np.random.default_rng(7).integers(0, 255, (n, 3), np.uint8)
    doubt = np.full(n, 0.05, np.float32) if doubt is None else doubt
    confidence = np.full(n, 2.0, np.float32) if confidence is None else confidence
    return Cloud(points, colours, confidence, np.zeros(n, np.intp) if view is None else view, doubt)


def a_moment(index, *, cameras=1, at=(0.0, 0.0, 0.0), pictures=None, name="camera"):
    """Cameras at one place; pictures: of each."""
    pose = np.eye(4)
    pose[:3, 3] = at
    seen = tuple(Camera(f"{name} {k}", MODEL, pose, pictures) for k in range(cameras))
    return Moment(index, index / 2, seen)


def plain_jpeg(grey):
    """A grey JPEG."""
    return cv2.imencode(".jpg", np.full((48, 64, 3), grey, np.uint8))[1].tobytes()


def a_scene(*, note="four sets", name="camera", stddev=True):
    """A wall, red on the left and blue on the right, 4 m before a camera that goes 3 m to the right in four steps."""
    x, y = np.meshgrid(np.linspace(-4, 7, 160), np.linspace(-2, 2, 60))
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 4.0)], axis=1).astype(np.float32)
    colours = np.where(points[:, :1] < 1.5, np.uint8(RED), np.uint8(BLUE))
    doubt = np.linspace(0.01, 0.2, len(points)).astype(np.float32)
    if not stddev:
        doubt[:] = np.inf
    confidence = np.linspace(1, 4, len(points), dtype=np.float32)
    view = np.rint(points[:, 0]).astype(np.intp) + 4  # seen from straight before it
    cloud = a_cloud(points, colours=colours, doubt=doubt, confidence=confidence, view=view)
    moments = [
        a_moment(k, at=(k, 0, 0), pictures=(plain_jpeg(40 * k), plain_jpeg(200 - 40 * k)), name=name) for k in range(4)
    ]
    track = Track(name, [m.seconds for m in moments], np.array([[k, 0.0, 0] for k in range(4)]))
    up, centres = np.array([0.0, -1.0, 0.0]), np.array([[x, 0.0, 0.0] for x in range(-4, 8)])
    return pack(moments, [cloud], [centres], up=up, unit="m", note=note, tracks=[track])
