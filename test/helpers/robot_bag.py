# SPDX-License-Identifier: Apache-2.0
"""A recording of a robot that drives towards a box in front of a wall: what its sensors see follows from geometry."""

import bags
import cv2
import numpy as np
from bags import PERIOD, POSES, START, STORE, TYPES
from fake_estimator import CAMERA

from da3_ros.messages import (
    CloudEncoder,
    encode_camera_info,
    encode_depth_mm,
    encode_odometry,
    encode_rgb,
    encode_transform,
)

WALL, BOX = 6.0, 3.0
"""x of the wall and of the box's face in odom."""
BOX_Y, BOX_Z = (-0.35, 0.25), (0.2, 0.8)
LIDAR = np.array([[1.0, 0, 0, 0.05], [0, 1, 0, 0.7], [0, 0, 1, 0.6], [0, 0, 0, 1]])
"""T_base_lidar: half a metre beside the cameras, so that it sees wall that the box hides from them."""
LIDAR_LATE = 30_000_000
SMALL = CAMERA.scaled(84, 56)

bags.KINDS.update(
    {
        "/left/depth/image_raw": "sensor_msgs/msg/Image",
        "/left/depth/image_raw/compressedDepth": "sensor_msgs/msg/CompressedImage",
        "/left/depth/camera_info": "sensor_msgs/msg/CameraInfo",
        "/lidar/points": "sensor_msgs/msg/PointCloud2",
        "/odometry": "nav_msgs/msg/Odometry",
    }
)


def base_pose(stamp):
    """T_odom_base: 1 m/s along x, turning a little."""
    t = (stamp - START) / 1e9
    c, s = np.cos(0.1 * t), np.sin(0.1 * t)
    return np.array([[c, -s, 0, t], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def camera_pose(name, stamp):
    """T_odom_camera."""
    return base_pose(stamp) @ POSES[name]


def true_depth(camera, pose):
    """Depth (H, W) of the box and the wall along the optical axis."""
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], -1) @ pose[:3, :3].T
    wall, box = ((x - pose[0, 3]) / rays[..., 0] for x in (WALL, BOX))
    hit = pose[:3, 3] + box[..., None] * rays
    on_box = (BOX_Y[0] < hit[..., 1]) & (hit[..., 1] < BOX_Y[1]) & (BOX_Z[0] < hit[..., 2]) & (hit[..., 2] < BOX_Z[1])
    return np.where(on_box, box, wall)


def cloud(stamp):
    """Points (N, 3) in the LiDAR's frame: all of the box and of the wall that it sees."""
    pose = base_pose(stamp) @ LIDAR
    y, z = (a.ravel() for a in np.meshgrid(np.linspace(-3, 3, 180), np.linspace(-1.2, 2.4, 110)))
    on_wall = np.stack([np.full_like(y, WALL), y, z], -1)
    ray = on_wall - pose[:3, 3]
    at = pose[:3, 3] + ray * ((BOX - pose[0, 3]) / ray[:, 0])[:, None]
    on_box = (BOX_Y[0] < at[:, 1]) & (at[:, 1] < BOX_Y[1]) & (BOX_Z[0] < at[:, 2]) & (at[:, 2] < BOX_Z[1])
    points = np.where(on_box[:, None], at, on_wall)
    return ((points - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)


def events(frames=6, *, tf_frames=None, depth="raw", lidar=True, odometry=False, moving_tf=True, tf_off=0.0):
    """(topic, log time, message). depth: raw, compressed (transport compressedDepth) or none."""
    chains = [("base_link", f"{n}_optical", pose) for n, pose in POSES.items()] + [("base_link", "lidar", LIDAR)]
    static = [encode_transform(TYPES, pose, TYPES.header(START, parent), child) for parent, child, pose in chains]
    kind = TYPES["tf2_msgs/msg/TFMessage"]
    yield "/tf_static", START, kind(transforms=static)
    encoder = CloudEncoder(TYPES)
    for index in range(frames + 1):
        for part in range(2):
            now = START + index * PERIOD + part * PERIOD // 2
            header = TYPES.header(now, "odom")
            if moving_tf and index < (frames + 1 if tf_frames is None else tf_frames):
                pose = base_pose(now)
                pose[0, 3] += tf_off
                yield "/tf", now, kind(transforms=[encode_transform(TYPES, pose, header, "base_link")])
            if odometry:
                message = encode_odometry(TYPES, base_pose(now), np.eye(6), header, "base_link")
                yield "/odometry", now, message
    for index in range(frames):
        stamp = START + index * PERIOD + 10_000_000  # between two transforms
        for name in POSES:
            header = TYPES.header(stamp, f"{name}_optical")
            yield f"/{name}/camera_info", stamp, encode_camera_info(TYPES, CAMERA, header)
            grey = (40 * true_depth(CAMERA, camera_pose(name, stamp))).clip(0, 255).astype(np.uint8)
            yield f"/{name}/image_raw", stamp + 1, encode_rgb(TYPES, np.stack([grey] * 3, -1), header)
        header = TYPES.header(stamp, "left_optical")
        truth = true_depth(SMALL, camera_pose("left", stamp)).astype(np.float32)
        if depth != "none":
            yield "/left/depth/camera_info", stamp, encode_camera_info(TYPES, SMALL, header)
        if depth == "raw":
            yield "/left/depth/image_raw", stamp + 5_000_000, encode_depth_mm(TYPES, truth, header)
        elif depth == "compressed":
            a, b = 5000.0, -100.0
            packed = cv2.imencode(".png", np.rint(a / truth + b).astype(np.uint16))[1].ravel()
            data = np.concatenate([np.frombuffer(np.array([0], "<i4").tobytes(), np.uint8), *_floats(a, b), packed])
            message = TYPES["sensor_msgs/msg/CompressedImage"](
                header=header, format="32FC1; compressedDepth png", data=data
            )
            yield "/left/depth/image_raw/compressedDepth", stamp + 5_000_000, message
        if lidar:
            late = stamp + LIDAR_LATE
            points = cloud(late)
            colour, one = np.zeros((len(points), 3), np.uint8), np.ones(len(points), np.float32)
            yield "/lidar/points", late + 1, encoder(points, colour, one, TYPES.header(late, "lidar"))


def _floats(*values):
    return [np.frombuffer(np.array([v], "<f4").tobytes(), np.uint8) for v in values]


def write(path, storage="mcap", loops=1, **options):
    """The recording as a bag, `loops` times the same; returns its path."""
    raw = [
        (topic, ns + loop * 10 * len(POSES) * PERIOD, bytes(STORE.serialize_cdr(m, bags.KINDS[topic])))
        for loop in range(loops)
        for topic, ns, m in events(**options)
    ]
    return bags.write_bag(path, raw, storage=storage)
