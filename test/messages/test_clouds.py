# SPDX-License-Identifier: Apache-2.0
import struct

import numpy as np
import pytest

from da3_ros.messages import CloudEncoder, MessageError, decode_cloud


@pytest.fixture
def scene():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(3, 5, 3)).astype(np.float32)
    points[1, 2] = np.nan
    return points, rng.integers(0, 256, (3, 5, 3), np.uint8), rng.random((3, 5), np.float32)


def test_organised_layout(types, scene):
    points, image, confidence = scene
    message = CloudEncoder(types)(points, image, confidence, types.header(4, "left_optical"))
    assert (message.height, message.width, message.point_step, message.row_step) == (3, 5, 20, 100)
    assert not message.is_dense
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        ("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1), ("rgb", 12, 7, 1), ("confidence", 16, 7, 1),
    ]  # fmt: skip
    data = bytes(message.data)
    # One point by hand: row 2, column 3.
    x, y, z, rgb, conf = struct.unpack_from("<fffIf", data, (2 * 5 + 3) * 20)
    assert (x, y, z) == tuple(points[2, 3])
    r, g, b = (int(value) for value in image[2, 3])
    assert rgb == (r << 16) | (g << 8) | b
    assert conf == confidence[2, 3]


def test_reading_back(types, scene):
    points, image, confidence = scene
    found = decode_cloud(CloudEncoder(types)(points, image, confidence, types.header(4, "a")))
    for i, name in enumerate("xyz"):
        np.testing.assert_array_equal(found[name], points[..., i])
    np.testing.assert_array_equal(found["rgb"], image)
    np.testing.assert_array_equal(found["confidence"], confidence)


def test_unorganised(types, scene):
    points, image, confidence = (part.reshape(15, *part.shape[2:]) for part in scene)
    keep = np.isfinite(points[:, 0])
    message = CloudEncoder(types)(
        points[keep], image[keep], confidence[keep], types.header(4, "base_link"), is_dense=True
    )
    assert (message.height, message.width, message.row_step) == (1, 14, 280)
    assert message.is_dense
    np.testing.assert_array_equal(decode_cloud(message)["rgb"][0], image[keep])


def test_work_area_does_not_leak_between_clouds(types, scene):
    encoder = CloudEncoder(types)
    first = encoder(*scene, types.header(1, "a"))
    before = bytes(first.data)
    second = encoder(*(part[:2, :3] + np.ones((), part.dtype) for part in scene), types.header(2, "a"))
    assert bytes(first.data) == before or not hasattr(type(first), "get_fields_and_field_types")
    assert len(second.data) == 6 * 20


def test_empty(types):
    message = CloudEncoder(types)(
        np.zeros((0, 3), np.float32),
        np.zeros((0, 3), np.uint8),
        np.zeros(0, np.float32),
        types.header(1, "a"),
    )
    assert (message.width, len(message.data)) == (0, 0)
    assert decode_cloud(message)["x"].shape == (1, 0)


def test_shapes_must_agree(types, scene):
    points, image, confidence = scene
    with pytest.raises(ValueError, match=r"points \(3, 5, 3\).*image \(2, 5, 3\)"):
        CloudEncoder(types)(points, image[:2], confidence, types.header(1, "a"))


def test_truncated_clouds_are_refused(types, scene):
    message = CloudEncoder(types)(*scene, types.header(1, "a"))
    message.data = message.data[:-8]
    with pytest.raises(MessageError, match="holds 292 bytes"):
        decode_cloud(message)


def test_a_message_is_filled_again_only_where_that_was_asked_for(types, scene):
    points, image, confidence = scene
    encode, fresh = CloudEncoder(types, reuse=True), CloudEncoder(types)
    first = encode(points, image, confidence, types.header(1, "a"))
    again = encode(points + 1, image, confidence, types.header(2, "b"), is_dense=True)
    assert again is first
    assert (again.header.frame_id, again.is_dense) == ("b", True)
    expected = fresh(points + 1, image, confidence, types.header(2, "b"))
    assert fresh(points, image, confidence, types.header(2, "b")) is not expected
    np.testing.assert_array_equal(decode_cloud(again)["x"], points[..., 0] + 1)
    fewer = encode(points[:2], image[:2], confidence[:2], types.header(3, "c"))
    assert (fewer.height, fewer.width, len(fewer.data)) == (2, 5, 200)
    np.testing.assert_array_equal(decode_cloud(fewer)["z"], points[:2, :, 2])


def laid_out(types, fields, *, width=4, height=1, step=16, row_step=None, data=None):
    """A cloud of x = 1, y = 2, z = 3 in every point, as some publisher lays it out. fields: name, offset, count."""
    kind, field = types["sensor_msgs/msg/PointCloud2"], types["sensor_msgs/msg/PointField"]
    octets = np.zeros((height * width, step), np.uint8)
    if step >= 12 and octets.size:
        octets[:, :12] = np.array([1, 2, 3], np.float32).view(np.uint8)
    return kind(
        header=types.header(1, "lidar"),
        height=height,
        width=width,
        fields=[field(name=name, offset=offset, datatype=7, count=count) for name, offset, count in fields],
        is_bigendian=False,
        point_step=step,
        row_step=step * width if row_step is None else row_step,
        data=types.octets(kind, octets if data is None else data),
        is_dense=True,
    )


XYZ = [("x", 0, 1), ("y", 4, 1), ("z", 8, 1)]


@pytest.mark.parametrize(("height", "width"), [(0, 0), (1, 0), (0, 1)])
def test_a_cloud_without_points_is_none_that_is_wrong(types, height, width):
    found = decode_cloud(laid_out(types, XYZ, height=height, width=width))
    assert {name: found[name].shape for name in "xyz"} == dict.fromkeys("xyz", (height, width))


@pytest.mark.parametrize(
    "fields",
    [
        [*XYZ, ("", 12, 1), ("", 12, 1)],
        [*XYZ, ("x", 12, 1)],
        [*XYZ, ("intensity", 14, 1)],
        [(name, offset, 0) for name, offset, _ in XYZ],
        [*XYZ, ("covariance", 0, 4)],
    ],
    ids=["without names", "one name twice", "beyond the point", "count 0", "array"],
)
def test_fields_that_cannot_be_read_cost_themselves_alone(types, fields):
    found = decode_cloud(laid_out(types, fields))
    assert [float(found[name][0, 0]) for name in "xyz"] == [1, 2, 3]
    assert set(found) == set("xyz")


def test_one_row_may_leave_its_length_out(types):
    assert decode_cloud(laid_out(types, XYZ, row_step=0))["z"].tolist() == [[3, 3, 3, 3]]


def test_layouts_without_sense_are_errors_in_words(types):
    for message in (laid_out(types, XYZ, step=0), laid_out(types, XYZ, row_step=3)):
        with pytest.raises(MessageError, match=r"cloud of 4 x 1 points.*check its publisher"):
            decode_cloud(message)
