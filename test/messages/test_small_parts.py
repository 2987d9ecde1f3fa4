# SPDX-License-Identifier: Apache-2.0
"""Clouds, poses, headers and errors to the last field: what a subscriber reads, and what a publisher may send."""

import struct
from types import SimpleNamespace

import numpy as np
import pytest

from da3_ros.geometry.poses import matrix_from_quaternion
from da3_ros.messages import (
    CloudEncoder,
    MessageError,
    decode_cloud,
    encode_odometry,
    encode_pose,
    encode_pose_stamped,
    encode_transform,
    matrix_from_pose,
    matrix_from_transform,
)
from da3_ros.messages.errors import guarded, quiet
from da3_ros.messages.types import MessageTypes, is_generated

FORMATS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 8: "d"}
VALUES = {1: -5, 2: 250, 3: -500, 4: 60_000, 5: -100_000, 6: 4_000_000_000, 7: 1.5, 8: 1e300}


def cloud(fields, rows, *, width, step, row_step=None, big=False):
    """fields: (name, offset, datatype, count); rows: bytes of each."""
    data = b"".join(rows)
    return SimpleNamespace(
        height=len(rows),
        width=width,
        point_step=step,
        row_step=step * width if row_step is None else row_step,
        is_bigendian=big,
        fields=[SimpleNamespace(name=n, offset=o, datatype=d, count=c) for n, o, d, c in fields],
        data=np.frombuffer(data, np.uint8),
    )


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("big", [False, True])
def test_fields_of_every_type_in_either_order_of_bytes(kind, big):
    order, value = ">" if big else "<", VALUES[kind]
    packed = struct.pack(f"{order}xx{FORMATS[kind]}f", value, 2.5)
    size = struct.calcsize(f"<{FORMATS[kind]}")
    fields = [("v", 2, kind, 1), ("w", 2 + size, 7, 1)]
    found = decode_cloud(cloud(fields, [packed * 3, packed * 3], width=3, step=len(packed), big=big))
    assert found["v"].shape == found["w"].shape == (2, 3)
    assert (found["v"] == value).all()
    assert (found["w"] == 2.5).all()


@pytest.mark.parametrize("kind", [0, 9, 255])
def test_types_that_do_not_exist_cost_their_field(kind):
    found = decode_cloud(cloud([("v", 0, kind, 1), ("w", 0, 7, 1)], [struct.pack("<f", 3.0)], width=1, step=4))
    assert {name: values.tolist() for name, values in found.items()} == {"w": [[3.0]]}


def test_rows_may_be_padded_and_the_data_longer():
    row = struct.pack("<ff", 1, 2) + b"\x99" * 5
    message = cloud([("x", 0, 7, 1)], [row, row, b"\x99" * 30], width=2, step=4, row_step=13)
    message.height = 2
    assert decode_cloud(message)["x"].tolist() == [[1, 2], [1, 2]]
    message.data = message.data[:26]
    assert decode_cloud(message)["x"].tolist() == [[1, 2], [1, 2]]
    message.data = message.data[:25]
    with pytest.raises(MessageError) as caught:
        decode_cloud(message)
    assert str(caught.value) == (
        "cloud of 2 x 2 points, 4 bytes each, 13 a row, holds 25 bytes; the message is truncated, or its layout is "
        "wrong: check its publisher"
    )
    message.data, message.row_step = np.zeros(99, np.uint8), 7
    with pytest.raises(MessageError, match="4 bytes each, 7 a row"):
        decode_cloud(message)
    message.row_step, message.point_step = 8, -4
    with pytest.raises(MessageError, match="-4 bytes each"):
        decode_cloud(message)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", [5, 6, 7])
def test_colours_are_the_bits_of_their_field_whatever_its_type(kind, big):
    order = ">" if big else "<"
    packed = struct.pack(f"{order}I", 0xFF123456) + struct.pack(f"{order}I", 0x00FEDCBA)
    found = decode_cloud(cloud([("rgb", 0, kind, 1)], [packed], width=2, step=4, big=big))
    assert (found["rgb"].dtype, found["rgb"].tolist()) == (np.uint8, [[[0x12, 0x34, 0x56], [0xFE, 0xDC, 0xBA]]])


@pytest.mark.parametrize(("height", "width"), [(0, 4), (3, 0)])
def test_no_points_have_the_types_of_points(height, width):
    message = cloud([("x", 0, 7, 1), ("n", 4, 4, 1), ("rgb", 8, 7, 1)], [], width=width, step=12)
    message.height = height
    found = decode_cloud(message)
    assert {name: (v.shape, v.dtype.name) for name, v in found.items()} == {
        "x": ((height, width), "float32"),
        "n": ((height, width), "uint16"),
        "rgb": ((height, width, 3), "uint8"),
    }
    message.fields.pop()
    assert "rgb" not in decode_cloud(message)


def test_fields_end_within_their_point():
    fields = [("a", 4, 7, 1), ("b", 5, 7, 1), ("c", 7, 2, 1), ("d", 8, 2, 1), ("e", 0, 8, 1), ("f", 1, 8, 1)]
    found = decode_cloud(cloud(fields, [bytes(8)], width=1, step=8))
    assert set(found) == {"a", "c", "e"}
    # Of an empty cloud that leaves its step out every field is one.
    assert set(decode_cloud(cloud(fields, [], width=0, step=0))) == set("abcdef")


def arrays(height, width, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(height, width, 3)).astype(np.float32)
    return points, rng.integers(0, 256, (height, width, 3), np.uint8), rng.random((height, width), np.float32)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("reuse", [False, True])
def test_bytes_of_a_cloud(types, planes, reuse):
    """However the coordinates lie in memory, and in the second message as in the first."""
    encode = CloudEncoder(types, reuse=reuse)
    for seed in range(3):
        points, image, confidence = arrays(2, 3, seed)
        if planes:
            points = np.moveaxis(np.ascontiguousarray(np.moveaxis(points, -1, 0)), 0, -1)
        header = types.header(seed, "a")
        message = encode(points, image[:, ::-1], confidence, header, is_dense=seed == 1)
        expected = b"".join(
            struct.pack("<fffIf", *points[y, x], int.from_bytes(bytes(image[y, 2 - x]), "big"), confidence[y, x])
            for y in range(2)
            for x in range(3)
        )
        assert bytes(message.data) == expected
        assert (message.header, message.is_dense, message.is_bigendian) == (header, seed == 1, False)
        assert (message.height, message.width, message.point_step, message.row_step) == (2, 3, 20, 60)


def test_one_message_again_and_again_is_the_same_only_while_the_number_of_points_stays(types):
    encode, plain = CloudEncoder(types, reuse=True), CloudEncoder(types)
    first = encode(*arrays(2, 3), types.header(1, "a"))
    other = encode(*arrays(3, 2, 1), types.header(2, "a"))  # as many points, laid out otherwise
    assert other is first
    assert (other.height, other.width, other.row_step) == (3, 2, 40)
    assert encode(*arrays(2, 4), types.header(3, "a")) is not first
    for part in (2, 5, 1):
        points, image, confidence = arrays(1, part, part)
        message = plain(points[0], image[0], confidence[0], types.header(1, "a"))
        found = decode_cloud(message)
        np.testing.assert_array_equal(found["y"], points[..., 1])
        np.testing.assert_array_equal(found["rgb"], image)
    empty = encode(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), np.zeros(0, np.float32), first.header)
    again = encode(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), np.zeros(0, np.float32), first.header)
    assert (len(empty.data), again.width, again.height, again.row_step) == (0, 0, 1, 0)


@pytest.mark.parametrize(
    ("points", "image", "confidence"),
    [
        ((4, 2), (4, 3), (4,)),
        ((4, 3), (4, 4), (4,)),
        ((4, 3), (5, 3), (4,)),
        ((4, 3), (4, 3), (5,)),
        ((2, 4, 3), (2, 4, 3), (8,)),
        ((1, 2, 4, 3), (1, 2, 4, 3), (1, 2, 4)),
    ],
)
def test_arrays_that_do_not_fit(types, points, image, confidence):
    with pytest.raises(ValueError, match="expected") as caught:
        CloudEncoder(types)(np.zeros(points), np.zeros(image, np.uint8), np.zeros(confidence), types.header(1, "a"))
    given = f"points {points}, image {image}, confidence {confidence}"
    assert str(caught.value) == f"{given}: expected (..., 3), (..., 3), (...) of one or two axes"


TURNED = np.eye(4)
TURNED[:3, :3] = matrix_from_quaternion(np.array([0.1, 0.2, 0.3, np.sqrt(0.86)]))
TURNED[:3, 3] = [1.0, 2.0, 3.0]


def numbers(quaternion):
    return [quaternion.x, quaternion.y, quaternion.z, quaternion.w]


def place(point):
    return [point.x, point.y, point.z]


def test_every_field_of_poses(types):
    header, covariance = types.header(8, "odom"), np.arange(36.0).reshape(6, 6)
    transform = encode_transform(types, TURNED, header, "child")
    stamped = encode_pose_stamped(types, TURNED, covariance, header)
    odometry = encode_odometry(types, TURNED, covariance.T[:, ::-1], header, "child")
    bare = encode_pose(types, TURNED)
    for message in (transform, stamped, odometry):
        assert message.header == header
    assert transform.child_frame_id == odometry.child_frame_id == "child"
    for position, rotation in (
        (transform.transform.translation, transform.transform.rotation),
        *((pose.position, pose.orientation) for pose in (bare, stamped.pose.pose, odometry.pose.pose)),
    ):
        assert place(position) == [1.0, 2.0, 3.0]
        np.testing.assert_allclose(numbers(rotation), [0.1, 0.2, 0.3, np.sqrt(0.86)], atol=1e-12)
    np.testing.assert_array_equal(stamped.pose.covariance, covariance.ravel())
    np.testing.assert_array_equal(odometry.pose.covariance, covariance.T[:, ::-1].ravel())
    np.testing.assert_array_equal(np.reshape(odometry.twist.covariance, (6, 6)), 1e6 * np.eye(6))
    assert place(odometry.twist.twist.linear) == place(odometry.twist.twist.angular) == [0.0, 0.0, 0.0]


def pose(scale=1.0, x=0.0):
    q = scale * np.array([0.1, 0.2, 0.3, np.sqrt(0.86)])
    rotation = SimpleNamespace(x=q[0], y=q[1], z=q[2], w=q[3])
    position = SimpleNamespace(x=x, y=2.0, z=3.0)
    return SimpleNamespace(position=position, orientation=rotation, translation=position, rotation=rotation)


@pytest.mark.parametrize("read", [matrix_from_pose, matrix_from_transform])
def test_quaternions_of_few_digits_are_taken_and_made_rotations(read):
    for scale in (1.0, 1.009, 0.991):
        matrix = read(pose(scale, 1.0))
        np.testing.assert_allclose(matrix, TURNED, atol=1e-12)
    for scale, x, norm in ((1.011, 0.0, "1.011"), (0.989, 0.0, "0.989"), (1.0, np.inf, "1"), (1.0, np.nan, "1")):
        message = pose(scale, x)
        with pytest.raises(MessageError) as caught:
            read(message)
        assert str(caught.value) == (
            f"translation {[x, 2.0, 3.0]} with quaternion {[float(n) for n in numbers(message.orientation)]} "
            f"(norm {norm}) is no rigid transform (allowed: finite numbers, quaternion norm 1); correct the publisher; "
            "a quaternion of zeros is one that was never set"
        )
    with pytest.raises(MessageError, match=r"a pose that makes no sense \(AttributeError"):
        read(None)


def test_classes_are_looked_up_once(types):
    asked = []

    def look_up(name):
        asked.append(name)
        return types[name]

    found = MessageTypes(look_up)
    header = found.header(7_000_000_009, "cam")
    assert (header.stamp.sec, header.stamp.nanosec, header.frame_id) == (7, 9, "cam")
    assert found.time(1).nanosec == 1
    assert asked == ["std_msgs/msg/Header", "builtin_interfaces/msg/Time"]


def test_octets_of_any_array(types):
    kind = types["sensor_msgs/msg/Image"]
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    for array in (values, values[::2], values.T, values[:0]):
        found = types.octets(kind, array)
        assert bytes(found) == array.tobytes()
        assert type(found).__name__ == ("array" if is_generated(kind) else "ndarray")


def test_an_error_reads_as_a_sentence_and_keeps_its_parts():
    error = MessageError("what", remedy="do this", allowed="that")
    assert (str(error), error.problem, error.allowed, error.remedy) == ("what (allowed: that); do this", "what", "that",
                                                                        "do this")  # fmt: skip
    error = MessageError("what", remedy="do this")
    assert (str(error), error.allowed) == ("what; do this", "")
    assert quiet("anything") is None


def test_whatever_fails_inside_is_about_the_message():
    @guarded("a thing")
    def fails(error, *, option=None):
        """Docs."""
        if error is not None:
            raise error
        return option

    assert fails(None, option=3) == 3
    assert (fails.__name__, fails.__doc__) == ("fails", "Docs.")
    own = MessageError("own", remedy="r")
    with pytest.raises(MessageError) as caught:
        fails(own)
    assert caught.value is own
    cause = KeyError("a\n  b" + "x" * 300)
    with pytest.raises(MessageError) as caught:
        fails(cause)
    assert caught.value.__cause__ is cause
    reason = " ".join(str(cause).split())[:200]
    assert len(reason) == 200
    assert str(caught.value) == (
        f"a thing that makes no sense (KeyError: {reason}); the message is damaged, or its publisher fills it wrongly: "
        "check that one"
    )
