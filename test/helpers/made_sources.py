# SPDX-License-Identifier: Apache-2.0
"""Miniatures of what was recorded without ROS, all of one truth: two cameras with distortion on a body that moves."""

import struct
from pathlib import Path

import cv2
import numpy as np

from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation, invert, quaternion_from_matrix

W, H = 64, 48
COUNT = 6
START = 1_403_636_579_763_555_584
PERIOD = 50_000_000
LENS = (-0.28, 0.07, 0.0002, 0.0001)
LEFT = CameraModel(W, H, 50.0, 51.0, 31.5, 24.25, LENS, "plumb_bob")
RIGHT = CameraModel(W, H, 49.5, 50.5, 32.0, 23.75, (0.02, -0.01, 0.003, -0.001), "equidistant")


def turned(x, y, z):
    """Rotation of a rotation vector in degrees."""
    return cv2.Rodrigues(np.radians(np.array([x, y, z], float)))[0]


def pose(rotation, *position):
    return np.asarray(from_rotation_translation(rotation, np.array(position, float)))


T_BODY_LEFT = pose(turned(1, -2, 89), -0.02, -0.06, 0.01)
T_BODY_RIGHT = pose(turned(2, 1, 91), -0.02, 0.05, 0.01)
MOUNTS = {"cam0": T_BODY_LEFT, "cam1": T_BODY_RIGHT}
MODELS = {"cam0": LEFT, "cam1": RIGHT}
STAMPS = [START + n * PERIOD for n in range(COUNT)]
BODIES = np.array([pose(turned(5 * n, 3, -4 * n), 0.1 * n, -0.02 * n, 1.0 + 0.05 * n) for n in range(COUNT)])


def picture(number, camera=0):
    """Pixels (H, W, 3) that no other picture has; smooth, so that JPEG and videos keep them."""
    y, x = np.mgrid[:H, :W]
    values = [128 + 100 * np.sin(x / 9 + number), 128 + 100 * np.cos(y / 7 + camera), 40 * number + 0 * x]
    return np.clip(np.stack(values, axis=2), 0, 255).astype(np.uint8)


def write_picture(path, number, camera=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(picture(number, camera), cv2.COLOR_RGB2BGR))
    return path


def with_orientation(path, value):
    """Exif data with an orientation, at the beginning of a JPEG."""
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHIHH", 0x0112, 3, 1, value, 0) + bytes(4)
    block = b"Exif\0\0" + tiff
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])


def folder(root, names=("cam0", "cam1"), suffix=".png", count=COUNT):
    """A folder of pictures for each camera; of one camera without a name the folder itself."""
    for camera, name in enumerate(names):
        for number in range(count):
            write_picture(Path(root) / name / f"{number:06d}{suffix}", number, camera)
    return Path(root)


def video(path, count=30, fps=10.0, codec="mp4v"):
    """Pictures at a constant rate; the red of each tells its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (W, H))
    assert writer.isOpened()
    for number in range(count):
        writer.write(np.full((H, W, 3), (90, 40, 8 * number), np.uint8))
    writer.release()
    return path


def number_of(image):
    """Number of a picture of `video`."""
    return round(float(np.median(image[..., 0])) / 8)


def rows(matrix):
    return "[" + ", ".join(f"{value!r}" for value in np.asarray(matrix).reshape(-1).tolist()) + "]"


def sensor_yaml(model, mount):
    word = {"plumb_bob": "radial-tangential", "equidistant": "equidistant"}[model.distortion_model]
    return "\n".join(
        [
            "#Default imu sensor yaml file",
            "sensor_type: camera",
            "T_BS:",
            "  cols: 4",
            "  rows: 4",
            f"  data: {rows(mount)}",
            "rate_hz: 20",
            f"resolution: [{W}, {H}]",
            "camera_model: pinhole",
            f"intrinsics: [{model.fx}, {model.fy}, {model.cx}, {model.cy}] #fu, fv, cu, cv",
            f"distortion_model: {word}",
            f"distortion_coefficients: {list(model.distortion)}",
        ]
    )


def euroc(root, *, truth="state_groundtruth_estimate0", listed=True):
    """EuRoC's layout; poses at twice the rate of the pictures."""
    mav = Path(root) / "mav0"
    for camera, (name, model) in enumerate(MODELS.items()):
        for number, stamp in enumerate(STAMPS):
            write_picture(mav / name / "data" / f"{stamp}.png", number, camera)
        (mav / name / "sensor.yaml").write_text(sensor_yaml(model, MOUNTS[name]))
        if listed:
            lines = ["#timestamp [ns],filename", *(f"{stamp},{stamp}.png" for stamp in STAMPS)]
            (mav / name / "data.csv").write_text("\r\n".join(lines) + "\r\n")
    if truth:
        place = mav / truth
        place.mkdir()
        lines = ["#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z [], v"]
        for stamp, body in zip(STAMPS, BODIES, strict=True):
            x, y, z, w = quaternion_from_matrix(body[:3, :3])
            lines.append(
                ",".join(repr(float(v)) if i else str(v) for i, v in enumerate((stamp, *body[:3, 3], w, x, y, z, 0.0)))
            )
        (place / "data.csv").write_text("\n".join(lines))
    return Path(root)


def tum_line(stamp_ns, matrix):
    values = (*matrix[:3, 3], *quaternion_from_matrix(matrix[:3, :3]))
    return f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d} " + " ".join(f"{value:.9f}" for value in values)


def write_tum(path, stamps=STAMPS, poses=BODIES):
    path.write_text("# seconds x y z qx qy qz qw\n" + "\n".join(map(tum_line, stamps, poses)) + "\n")
    return path


def depth_of(number):
    """Metres (H, W) of a TUM folder's depth image; one pixel is not measured."""
    metres = np.full((H, W), 1.5 + 0.25 * number, np.float32)
    metres[3, 5] = np.nan
    return metres


def tum_rgbd(root, *, late_ns=6_000_000, size=(W, H)):
    """The layout of TUM RGB-D; depth comes a little later than colour, and lacks for the last one; size: of colour."""
    root = Path(root)
    names = {"rgb": [], "depth": []}
    for number, stamp in enumerate(STAMPS):
        text = f"{stamp // 10**9}.{stamp % 10**9 // 1000:06d}"
        path = write_picture(root / "rgb" / f"{text}.png", number)
        if size != (W, H):
            cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), size))
        names["rgb"].append(f"{text} rgb/{text}.png")
        if number < COUNT - 1:
            later = stamp + late_ns
            text = f"{later // 10**9}.{later % 10**9 // 1000:06d}"
            (root / "depth").mkdir(exist_ok=True)
            values = np.nan_to_num(5000 * depth_of(number)).astype(np.uint16)
            assert cv2.imwrite(str(root / "depth" / f"{text}.png"), values)
            names["depth"].append(f"{text} depth/{text}.png")
    for name, lines in names.items():
        (root / f"{name}.txt").write_text("\n".join(["# images", "# file", "# timestamp filename", *lines]))
    write_tum(root / "groundtruth.txt")
    return root


T_LEFT_RIGHT = pose(np.eye(3), 0.54, 0.0, 0.0)
KITTI_K = np.array([[52.0, 0, 31.0], [0, 52.0, 23.0], [0, 0, 1]])


def projection(baseline):
    """P (3, 4) of a rectified camera that far to the right of the first one."""
    return KITTI_K @ np.hstack([np.eye(3), [[-baseline], [0], [0]]])


def numbers(values):
    return " ".join(f"{value:.12e}" for value in np.asarray(values).reshape(-1))


BASELINES = {0: 0.0, 1: 0.54, 2: -0.06, 3: 0.48}


T_LEFT_VELO = pose(np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), 0.0, -0.08, -0.27)
"""LiDAR: x forward, y left, z up; camera: x right, y down, z forward."""


def scan_of(number):
    """Points (N, 3) of a wall that far from the left camera, in the LiDAR's axes."""
    x, y = np.meshgrid(np.linspace(-2, 2, 40), np.linspace(-1, 1, 20))
    wall = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, 4.0 + number), np.ones(x.size)])
    return (wall @ invert(T_LEFT_VELO).T)[:, :3].astype(np.float32)


def write_scans(folder, digits):
    folder.mkdir(parents=True)
    for number in range(COUNT):
        points = scan_of(number)
        np.column_stack([points, np.zeros(len(points))]).astype("<f4").tofile(folder / f"{number:0{digits}d}.bin")


def kitti_odometry(root, cameras=(0, 1, 2, 3), *, poses=True):
    """``sequences/07`` below a folder, and ``poses/07.txt``; returns the sequence."""
    sequence = Path(root) / "sequences" / "07"
    for camera in cameras:
        for number in range(COUNT):
            write_picture(sequence / f"image_{camera}" / f"{number:06d}.png", number, camera)
    lines = [f"P{camera}: {numbers(projection(BASELINES[camera]))}" for camera in range(4)]
    (sequence / "calib.txt").write_text("\n".join([*lines, f"Tr: {numbers(T_LEFT_VELO[:3])}"]) + "\n")
    (sequence / "times.txt").write_text("".join(f"{0.1 * number:.6e}\n" for number in range(COUNT)))
    write_scans(sequence / "velodyne", 6)
    if poses:
        (Path(root) / "poses").mkdir()
        (Path(root) / "poses" / "07.txt").write_text("".join(numbers(body[:3]) + "\n" for body in BODIES))
    return sequence


def kitti_raw(root, cameras=(2, 3)):
    """A drive of a day, with gaps: pictures 0 to COUNT without the second; drives 1 m/s to the north, looking east."""
    day = Path(root) / "2011_09_26"
    drive = day / "2011_09_26_drive_0001_sync"
    times = [f"2011-09-26 13:02:{25 + 0.1 * number:012.9f}" for number in range(COUNT)]
    for camera in cameras:
        for number in range(COUNT):
            if number != 1:
                write_picture(drive / f"image_0{camera}" / "data" / f"{number:010d}.png", number, camera)
        (drive / f"image_0{camera}" / "timestamps.txt").write_text("\n".join(times) + "\n")
    lines = ["calib_time: 09-Jan-2012 13:57:47", f"R_rect_00: {numbers(np.eye(3))}"]
    lines += [f"P_rect_0{camera}: {numbers(projection(BASELINES[camera]))}" for camera in range(4)]
    (day / "calib_cam_to_cam.txt").write_text("\n".join(lines))
    velo = f"calib_time: x\nR: {numbers(T_LEFT_VELO[:3, :3])}\nT: {numbers(T_LEFT_VELO[:3, 3])}\n"
    (day / "calib_velo_to_cam.txt").write_text(velo)
    write_scans(drive / "velodyne_points" / "data", 10)
    (drive / "velodyne_points" / "timestamps.txt").write_text("\n".join(times) + "\n")
    # The IMU sits 0.8 m behind the LiDAR.
    (day / "calib_imu_to_velo.txt").write_text(
        f"calib_time: x\nR: {numbers(np.eye(3))}\nT: {numbers([-0.8, 0.3, -0.8])}\n"
    )
    (drive / "oxts" / "data").mkdir(parents=True)
    (drive / "oxts" / "timestamps.txt").write_text("\n".join(times) + "\n")
    for number in range(COUNT):
        latitude = 49.0 + float(np.degrees(0.1 * number / 6_378_137.0))
        values = [latitude, 8.4, 115.0, 0.0, 0.0, 0.0, *([0.0] * 24)]
        (drive / "oxts" / "data" / f"{number:010d}.txt").write_text(" ".join(repr(value) for value in values))
    return drive


def camera_info_yaml(model, name="", *, projection=None, rotation=None):
    """As camera_calibration writes it."""
    d = list(model.distortion) + [0.0] * (5 - len(model.distortion) if model.distortion_model == "plumb_bob" else 0)
    p = np.hstack([model.K, np.zeros((3, 1))]) if projection is None else projection
    parts = {
        "camera_matrix": (3, 3, model.K),
        "distortion_coefficients": (1, len(d), d),
        "rectification_matrix": (3, 3, np.eye(3) if rotation is None else rotation),
        "projection_matrix": (3, 4, p),
    }
    lines = [f"image_width: {model.width}", f"image_height: {model.height}", f"camera_name: {name}"]
    lines.append(f"distortion_model: {model.distortion_model or 'plumb_bob'}")
    for key, (high, wide, values) in parts.items():
        lines += [f"{key}:", f"  rows: {high}", f"  cols: {wide}", f"  data: {rows(values)}"]
    return "\n".join(lines) + "\n"


def camchain_yaml(*, imu=True):
    """Kalibr's, of the two cameras; imu: with their places on the body, else the second from the first."""
    lines = []
    words = {"plumb_bob": "radtan", "equidistant": "equidistant"}
    for number, (name, model) in enumerate(MODELS.items()):
        lines += [f"{name}:", "  camera_model: pinhole", f"  distortion_model: {words[model.distortion_model]}"]
        lines += [f"  distortion_coeffs: {list(model.distortion)}"]
        lines += [f"  intrinsics: [{model.fx}, {model.fy}, {model.cx}, {model.cy}]", f"  resolution: [{W}, {H}]"]
        lines += [f"  rostopic: /rig/{('left', 'right')[number]}/image_raw"]
        if imu:
            lines += ["  T_cam_imu:", *(f"  - {rows(row)}" for row in invert(MOUNTS[name]))]
        if number:
            lines += ["  T_cn_cnm1:", *(f"  - {rows(row)}" for row in invert(T_BODY_RIGHT) @ T_BODY_LEFT)]
    return "\n".join(lines) + "\n"


def colmap(root, *, binary=True, lens="OPENCV", where="sparse/0"):
    """A project that pycolmap itself writes: images of the left camera, its poses, and some points."""
    import pycolmap

    root = Path(root)
    content = pycolmap.Reconstruction()
    values = {
        "OPENCV": [LEFT.fx, LEFT.fy, LEFT.cx + 0.5, LEFT.cy + 0.5, *LENS],
        "SIMPLE_RADIAL": [50.0, 32.0, 24.0, 0.1],
        "OPENCV_FISHEYE": [RIGHT.fx, RIGHT.fy, RIGHT.cx + 0.5, RIGHT.cy + 0.5, *RIGHT.distortion],
        "PINHOLE": [50.0, 51.0, 32.0, 24.0],
        "FOV": [50.0, 51.0, 32.0, 24.0, 0.9],
    }[lens]
    camera = pycolmap.Camera(model=lens, width=W, height=H, params=values, camera_id=1)
    content.add_camera_with_trivial_rig(camera)
    for number, body in enumerate(BODIES):
        name = f"walk/img_{number + 8}.png"  # 8, 9, 10, ...: in the order of their numbers
        write_picture(root / "images" / name, number)
        T_camera_world = invert(body @ T_BODY_LEFT)
        image = pycolmap.Image(name=name, camera_id=1, image_id=100 - number)
        content.add_image_with_trivial_frame(image, pycolmap.Rigid3d(T_camera_world[:3]))
    for number in range(20):
        ahead = BODIES[0] @ T_BODY_LEFT @ np.array([0.1 * number - 1, 0.2, 4.0, 1.0])
        content.add_point3D(ahead[:3], pycolmap.Track(), np.array([1, 2, 3], np.uint8))
    (root / where).mkdir(parents=True)
    (content.write_binary if binary else content.write_text)(str(root / where))
    return root
