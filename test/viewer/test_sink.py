# SPDX-License-Identifier: Apache-2.0
"""Each kind of message as it is shown: entities and values of the file that a viewer saved."""

import cv2
import numpy as np
import pytest

from da3_ros.geometry import CameraModel
from da3_ros.messages import (
    CloudEncoder,
    encode_calibration,
    encode_camera_info,
    encode_float,
    encode_odometry,
    encode_packed,
    encode_pose_stamped,
    encode_rgb,
    encode_transform,
)
from da3_ros.messages.kinds import CAMERA_INFO as INFO
from da3_ros.messages.kinds import CLOUD, TRANSFORMS
from da3_ros.viewer.roles import PICTURES, Role

IMAGE, PACKED = PICTURES
STAMP = 1_700_000_000_123_456_789
SECOND = 1_000_000_000
CAMERA = CameraModel.pinhole(320, 200, 150.0, 151.0, 158.0, 99.0)
T_BASE_LEFT = np.array([[0.0, 0, 1, 0.2], [-1, 0, 0, 0.1], [0, -1, 0, 1.0], [0, 0, 0, 1]])
ODOMETRY, POSE = "nav_msgs/msg/Odometry", "geometry_msgs/msg/PoseWithCovarianceStamped"
STATUS = "diagnostic_msgs/msg/DiagnosticArray"


def moved(x):
    matrix = np.eye(4)
    matrix[0, 3] = x
    return matrix


def ramp():
    """Colours that a JPEG keeps, (200, 320, 3)."""
    x, y = np.meshgrid(np.linspace(0, 255, 320), np.linspace(0, 255, 200))
    return np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)


def status(types, stamp_ns, *entries):
    """DiagnosticArray of (level, name, message, values)."""
    kind, pair = types["diagnostic_msgs/msg/DiagnosticStatus"], types["diagnostic_msgs/msg/KeyValue"]
    levels = [kind.OK, kind.WARN, kind.ERROR]
    found = [
        kind(
            level=levels[level],
            name=name,
            message=message,
            hardware_id="da3",
            values=[pair(key=key, value=value) for key, value in values.items()],
        )
        for level, name, message, values in entries
    ]
    return types[STATUS](header=types.header(stamp_ns, ""), status=found)


def transforms(types, *entries):
    """TFMessage of (parent, child, matrix, stamp)."""
    found = [encode_transform(types, at, types.header(stamp, parent), child) for parent, child, at, stamp in entries]
    return types[TRANSFORMS](transforms=found)


def test_depth_is_in_metres_where_it_has_a_unit(types, saved):
    viewer = saved(size=160)
    depth = np.linspace(1, 9, 320 * 200, dtype=np.float32).reshape(200, 320)
    depth[0, :6] = np.nan, 1, np.inf, 1, -np.inf, 1
    for camera, frame in (("left", "left_optical"), ("right", "right_optical_relative")):
        header = types.header(STAMP, frame)
        assert viewer.take(f"/da3/{camera}/depth/image_rect", IMAGE, encode_float(types, depth, header))
        info = encode_camera_info(types, CAMERA, header)
        assert viewer.take(f"/da3/{camera}/depth/camera_info", INFO, info)
    file = saved.read()
    found, metre = file.depth("world/left/image/depth")
    expected = np.where(np.isfinite(depth) & (depth > 0), depth, 0)[::2, ::2]
    np.testing.assert_array_equal(found, expected)
    assert metre == 1.0
    assert file.depth("world/right/image/depth")[1] is None
    ((stamp, _),) = file.rows("world/left/image/depth", "DepthImage:buffer")
    assert stamp == STAMP
    matrix = file.values("world/left/image", "Pinhole:image_from_camera")[0].reshape(3, 3).T
    np.testing.assert_allclose(matrix, [[75, 0, 79.5], [0, 75.5, 50], [0, 0, 1]])  # of pixels 0, 2, 4, from corners
    assert file.values("world/left/image", "Pinhole:resolution")[0].tolist() == [[160, 100]]
    assert file.values("world/left/image", "Pinhole:parent_frame")[0].tolist() == ["left_optical"]


def test_without_a_suffix_all_depth_has_a_unit(types, saved):
    viewer = saved(relative_suffix="")
    header = types.header(STAMP, "left_optical_relative")
    viewer.take("/da3/left/depth/image_rect", IMAGE, encode_float(types, np.ones((20, 30), np.float32), header))
    assert saved.read().depth("world/left/image/depth")[1] == 1.0


def test_pictures_are_made_small_and_files_stay_as_they_are(types, saved):
    viewer = saved({"/usb/picture": Role("picture", "front")}, size=160)
    header, image = types.header(STAMP, "left_optical"), ramp()
    small = cv2.resize(image, (160, 100), interpolation=cv2.INTER_AREA)
    data = [cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes() for pixels in (small, image)]
    viewer.take("/left/image_raw", IMAGE, encode_rgb(types, image, header))
    viewer.take("/right/image_raw/compressed", PACKED, encode_packed(types, data[0], header))
    viewer.take("/rear/image_raw/compressed", PACKED, encode_packed(types, data[1], header))
    viewer.take("/usb/picture", IMAGE, encode_rgb(types, small, header))
    swapped = encode_packed(types, data[0], header)
    swapped.format = "rgb8; jpeg compressed rgb8"
    viewer.take("/odd/image_raw/compressed", PACKED, swapped)
    file = saved.read()
    for camera in ("left", "right", "rear", "front"):
        np.testing.assert_allclose(file.picture(f"world/{camera}/input/rgb").astype(int), small, atol=12)
    np.testing.assert_allclose(file.picture("world/odd/input/rgb").astype(int), small[..., ::-1], atol=12)
    assert bytes(file.rows("world/right/input/rgb", "EncodedImage:blob")[0][1][0]) == data[0]
    assert file.rows("world/left/input/rgb", "EncodedImage:media_type") == [(STAMP, ["image/jpeg"])]


def test_a_depth_image_whose_name_does_not_say_so(types, saved):
    viewer = saved()
    depth = np.full((20, 30), 2.5, np.float32)
    viewer.take("/front/image_raw", IMAGE, encode_float(types, depth, types.header(STAMP, "front")))
    np.testing.assert_array_equal(saved.read().depth("world/front/image/depth")[0], depth)


def test_the_plane_of_a_picture_is_that_of_its_calibration(types, saved):
    viewer = saved(size=160)
    header = types.header(STAMP, "left_optical")
    viewer.take("/left/camera_info", INFO, encode_calibration(types, CAMERA, header))
    matrix = saved.read().values("world/left/input", "Pinhole:image_from_camera")[0].reshape(3, 3).T
    np.testing.assert_allclose(matrix, [[75, 0, 79.25], [0, 75.5, 49.75], [0, 0, 1]])  # corners stay corners


def test_a_rectified_picture_looks_another_way_than_its_frame(types, saved):
    viewer = saved({"/left/camera_info": Role("picture info", "left", rectified=True)})
    turn = cv2.Rodrigues(np.array([0.0, 0.3, 0.0]))[0]
    viewer.take("/left/camera_info", INFO, encode_camera_info(types, CAMERA, types.header(STAMP, "eye"), turn))
    file = saved.read()
    assert file.values("world/left/input", "Pinhole:parent_frame")[0].tolist() == ["eye rectified"]
    quaternion = file.values(r"tf/eye\ rectified", "Transform3D:quaternion")[0][0]
    np.testing.assert_allclose(quaternion, [0, -np.sin(0.15), 0, np.cos(0.15)], atol=1e-6)


def test_confidence_and_uncertainty_are_pictures(types, saved):
    viewer = saved()
    values = np.tile(np.linspace(1, 5, 64, dtype=np.float32), (40, 1))
    holed = np.where(np.arange(64) < 4, np.float32(np.nan), values)
    header = types.header(STAMP, "left_optical")
    viewer.take("/da3/left/confidence/image", IMAGE, encode_float(types, values, header))
    viewer.take("/da3/left/depth/stddev", IMAGE, encode_float(types, holed, header))
    file = saved.read()
    for what, low in (("confidence", 0), ("stddev", 0)):
        picture = file.picture(f"world/left/{what}")[20, :, 0].astype(int)
        assert picture[0] <= low + 8
        assert picture[-1] >= 247
        assert 100 < picture[34] < 155


def test_clouds_have_their_colours_and_no_holes(types, saved):
    viewer = saved(points=50)
    points = np.arange(300, dtype=np.float32).reshape(10, 10, 3)
    points[3, 3, 1] = np.nan
    colours = np.full((10, 10, 3), (10, 120, 250), np.uint8)
    cloud = CloudEncoder(types)(points, colours, np.ones((10, 10), np.float32), types.header(STAMP, "base_link"))
    viewer.take("/da3/points", CLOUD, cloud)
    assert not viewer.take("/da3/left/points", CLOUD, cloud)
    file = saved.read()
    ((stamp, places),) = file.rows("world/cloud", "Points3D:positions")
    assert stamp == STAMP
    assert len(places) == 50
    known = points.reshape(-1, 3)[np.isfinite(points).all(axis=-1).ravel()]
    assert {tuple(place) for place in places} <= {tuple(point) for point in known.tolist()}
    assert places[0] == [0, 1, 2]
    assert places[-1] == [297, 298, 299]
    assert set(file.rows("world/cloud", "Points3D:colors")[0][1]) == {0x0A78FAFF}
    assert file.rows("world/cloud", "CoordinateFrame:frame") == [(STAMP, ["base_link"])]


def test_transforms_keep_their_own_stamps(types, saved):
    viewer = saved(rate=1.0)
    viewer.take("/tf_static", TRANSFORMS, transforms(types, ("base_link", "left_optical", T_BASE_LEFT, 0)))
    for index in range(30):
        stamp = STAMP + index * SECOND // 10
        viewer.take("/tf", TRANSFORMS, transforms(types, ("odom", "base_link", moved(0.1 * index), stamp)))
    file = saved.read()
    rows = file.rows("tf/base_link", "Transform3D:translation")
    assert [stamp for stamp, _ in rows] == [STAMP + index * SECOND // 10 for index in range(30)]
    np.testing.assert_allclose([value[0][0] for _, value in rows], 0.1 * np.arange(30), atol=1e-6)
    ((stamp, place),) = file.rows("tf/left_optical", "Transform3D:translation")
    assert stamp is None
    np.testing.assert_allclose(place, [[0.2, 0.1, 1.0]], atol=1e-6)
    assert file.rows("tf/left_optical", "Transform3D:parent_frame") == [(None, ["base_link"])]


def test_odometry_is_a_place_and_a_path(types, saved):
    viewer = saved()
    for index in range(3):
        header = types.header(STAMP + index, "da3_odom")
        viewer.take("/da3/odometry", ODOMETRY, encode_odometry(types, moved(index), np.eye(6), header, "base_link"))
    file = saved.read()
    assert [value[0][0] for _, value in file.rows("tf/base_link", "Transform3D:translation")] == [0, 1, 2]
    paths = file.rows("world/path/odometry", "LineStrips3D:strips")
    assert paths[-1] == (STAMP + 2, [[[0, 0, 0], [1, 0, 0], [2, 0, 0]]])
    assert file.rows("world/path/odometry", "CoordinateFrame:frame")[-1][1] == ["da3_odom"]


def test_a_pose_places_the_camera_that_nothing_else_places(types, saved):
    viewer = saved()
    for camera, known in (("left", True), ("right", False)):
        frame = f"{camera}_optical"
        if known:
            viewer.take("/tf_static", TRANSFORMS, transforms(types, ("base_link", frame, T_BASE_LEFT, 0)))
        depth = encode_float(types, np.ones((20, 30), np.float32), types.header(STAMP, frame))
        viewer.take(f"/da3/{camera}/depth/image_rect", IMAGE, depth)
        pose = encode_pose_stamped(types, moved(3.0), np.eye(6), types.header(STAMP, "base_link"))
        viewer.take(f"/da3/{camera}/pose", POSE, pose)
    file = saved.read()
    np.testing.assert_allclose(file.values("tf/left_optical", "Transform3D:translation")[0], [[0.2, 0.1, 1]], atol=1e-6)
    assert file.rows("tf/right_optical", "Transform3D:translation") == [(STAMP, [[3, 0, 0]])]
    assert file.rows("world", "CoordinateFrame:frame") == [(STAMP, ["base_link"])]


def test_scale_times_and_what_is_wrong(types, saved):
    viewer = saved()
    scale = {"metres_per_unit": "1.25", "residual": "0.03", "source": "rig"}
    viewer.take("/da3/latency", STATUS, status(types, STAMP, (0, "latency", "12 ms", {"engine_ms": "2.5"})))
    told = (0, "fine"), (1, "silent for 3.1 s"), (1, "silent for 4.2 s"), (2, "gone")
    for second, (level, text) in enumerate(told):
        entries = (level, "multi_cam: left", text, {}), (0, "multi_cam: scale", "metric", scale)
        viewer.take("/diagnostics", STATUS, status(types, STAMP + second * SECOND, *entries))
    viewer.take("/diagnostics", STATUS, status(types, STAMP + 4 * SECOND, (0, "multi_cam: left", "receiving", {})))
    file = saved.read()
    assert file.rows("timing_ms/engine", "Scalars:scalars") == [(STAMP, [2.5])]
    assert [value for _, value in file.rows("scale/metres_per_unit", "Scalars:scalars")] == [[1.25]] * 4
    assert [value for _, value in file.rows("scale/residual", "Scalars:scalars")] == [[0.03]] * 4
    said = file.rows("log/left", "TextLog:text"), file.rows("log/left", "TextLog:level")
    assert [value for _, value in said[0]] == [["silent for 3.1 s"], ["gone"], ["receiving"]]
    assert [value for _, value in said[1]] == [["WARN"], ["ERROR"], ["INFO"]]
    assert [stamp for stamp, _ in said[0]] == [STAMP + second * SECOND for second in (1, 3, 4)]


def test_diagnostics_of_another_clock_are_shown_beside_the_pictures(types, saved):
    viewer = saved()
    viewer.take("/left/image_raw", IMAGE, encode_rgb(types, ramp(), types.header(STAMP, "left")))
    late = STAMP + 3600 * SECOND
    viewer.take("/diagnostics", STATUS, status(types, late, (1, "multi_cam: left", "slow", {})))
    assert saved.read().rows("log/left", "TextLog:text") == [(STAMP, ["slow"])]


def test_what_makes_no_sense_is_said_once(types, saved):
    viewer = saved()
    image = encode_rgb(types, ramp(), types.header(STAMP, "left"))
    image.height = 4000
    for _ in range(3):
        assert viewer.take("/left/image_raw", IMAGE, image)
    fisheye = CameraModel(320, 200, 150.0, 151.0, 158.0, 99.0, (0.0, 0.0, 0.0, 0.0), "equidistant")
    viewer.take("/left/camera_info", INFO, encode_calibration(types, fisheye, types.header(STAMP, "left")))
    assert not viewer.take("/notes", "std_msgs/msg/String", None)
    rows = [value[0] for _, value in saved.read().rows("log/viewer", "TextLog:text")]
    assert len(rows) == 2
    assert rows[0].startswith("/left/image_raw: ")
    assert "truncated" in rows[0]
    assert "a fisheye camera has no image plane" in rows[1]


@pytest.mark.parametrize("broken", ["", "metres"])
def test_numbers_that_are_none(types, saved, broken):
    viewer = saved()
    viewer.take("/da3/latency", STATUS, status(types, STAMP, (0, "latency", "", {"engine_ms": broken})))
    assert "is no number" in saved.read().rows("log/viewer", "TextLog:text")[0][1][0]
