# SPDX-License-Identifier: Apache-2.0
"""Messages as no driver should send them: fields of any value, near ones that are right but for something, cut bytes.

`DA3_FUZZ_EXAMPLES` sets how many of each kind are tried (10000 for a thorough run).
"""

from __future__ import annotations

import copy
import os
from typing import Any

import cv2
import numpy as np
from bags import CAMERA, POSES, START, STORE, TYPES, H, W, picture
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from da3_ros.messages import CloudEncoder, encode_camera_info, encode_rgb, encode_transform
from da3_ros.messages.images import ENCODINGS

EXAMPLES = int(os.environ.get("DA3_FUZZ_EXAMPLES", "60"))
IMAGE, COMPRESSED, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
CLOUD, TF = "sensor_msgs/msg/PointCloud2", "tf2_msgs/msg/TFMessage"
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 1000,
    suppress_health_check=list(HealthCheck),
    database=None,
)

u8, u32 = (
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, 7, H, W, 2 * W, 3 * W, 65535, 1 << 20, 1 << 31, (1 << 32) - 1]),
)
i32 = st.sampled_from([-(1 << 31), -1, 0, 1, 1_700_000_000, (1 << 31) - 1])
number = st.one_of(
    st.floats(width=64), st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, float("nan"), float("inf"), 150.0, 80.0])
)
word = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "/", "left_optical", "base_link", "right_optical", "lidar", "\0", "ä b"])
)
encoding = st.one_of(word, st.sampled_from([*ENCODINGS, "16UC1", "32FC1", "RGB8", "h264", "8UC2", "bayer_rggb12"]))
form = st.builds(
    lambda a, b, c: f"{a}{b}{c}",
    encoding,
    st.sampled_from(["", "; ", ";", " "]),
    st.sampled_from(["", "jpeg compressed bgr8", "png compressed rgb8", "compressedDepth png", "jpeg compressed "]),
)
lens = st.one_of(
    word, st.sampled_from(["plumb_bob", "equidistant", "fisheye", "rational_polynomial", "radtan", "none"])
)
octets = st.one_of(
    st.binary(max_size=64), st.sampled_from([b"", b"\0" * (3 * H * W), b"\xff" * (H * W), b"\x7f" * (4 * H * W + 3)])
)


def _octets(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def _floats(count: int) -> Any:
    exact = st.lists(number, min_size=count, max_size=count)
    return st.one_of(exact, st.lists(number, max_size=count + 3)).map(lambda values: np.array(values, np.float64))


header = st.builds(
    lambda sec, nanosec, frame: TYPES["std_msgs/msg/Header"](TYPES["builtin_interfaces/msg/Time"](sec, nanosec), frame),
    i32,
    u32,
    word,
)
# Of the form that calibrations have, with numbers that they have not.
length = st.one_of(number, st.sampled_from([7.0, 20.0, 150.0, 151.0, 1e4, 1e6, 1e12]))
intrinsics = st.builds(
    lambda fx, fy, cx, cy: np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1], np.float64), length, length, length, length
)
projection = intrinsics.map(lambda k: np.insert(k.reshape(3, 3), 3, 0, axis=1).reshape(12))
coefficients = st.sampled_from([0, 4, 5, 8, 12, 14]).flatmap(
    lambda count: st.lists(st.one_of(number, st.floats(-1, 1)), min_size=count, max_size=count)
)

roi = st.builds(TYPES["sensor_msgs/msg/RegionOfInterest"], u32, u32, u32, u32, st.booleans())
field = st.builds(TYPES["sensor_msgs/msg/PointField"], st.one_of(word, st.sampled_from("xyz")), u32, u8, u32)
vector = st.builds(TYPES["geometry_msgs/msg/Vector3"], number, number, number)
quaternion = st.builds(TYPES["geometry_msgs/msg/Quaternion"], number, number, number, number)
transform = st.builds(
    lambda h, child, t, q: TYPES["geometry_msgs/msg/TransformStamped"](
        h, child, TYPES["geometry_msgs/msg/Transform"](t, q)
    ),
    header,
    word,
    vector,
    quaternion,
)
FIELDS: dict[str, dict[str, Any]] = {
    IMAGE: {
        "header": header,
        "height": u32,
        "width": u32,
        "encoding": encoding,
        "is_bigendian": u8,
        "step": u32,
        "data": octets.map(_octets),
    },
    COMPRESSED: {"header": header, "format": form, "data": octets.map(_octets)},
    INFO: {
        "header": header,
        "height": u32,
        "width": u32,
        "distortion_model": lens,
        "d": st.one_of(_floats(5), coefficients.map(lambda values: np.array(values, np.float64))),
        "k": st.one_of(_floats(9), intrinsics),
        "r": _floats(9),
        "p": st.one_of(_floats(12), projection),
        "binning_x": u32,
        "binning_y": u32,
        "roi": roi,
    },
    CLOUD: {
        "header": header,
        "height": u32,
        "width": u32,
        "fields": st.lists(field, max_size=6),
        "is_bigendian": st.booleans(),
        "point_step": u32,
        "row_step": u32,
        "data": octets.map(_octets),
        "is_dense": st.booleans(),
    },
    TF: {"transforms": st.lists(transform, max_size=4)},
}


def sound(kind: str, stamp_ns: int = START, frame: str = "left_optical") -> Any:
    """A message of a kind as it should be."""
    head = TYPES.header(stamp_ns, frame)
    if kind == IMAGE:
        return encode_rgb(TYPES, picture(0, "left"), head)
    if kind == COMPRESSED:
        data = cv2.imencode(".jpg", picture(0, "left"))[1].tobytes()
        return TYPES[COMPRESSED](head, "rgb8; jpeg compressed bgr8", _octets(data))
    if kind == INFO:
        return encode_camera_info(TYPES, CAMERA, head)
    if kind == CLOUD:
        points = np.random.default_rng(0).uniform(1, 3, (40, 3)).astype(np.float32)
        return CloudEncoder(TYPES)(points, np.zeros((40, 3), np.uint8), np.ones(40, np.float32), head)
    return TYPES[TF](transforms=[encode_transform(TYPES, POSES["left"], TYPES.header(stamp_ns, "base_link"), frame)])


@st.composite
def messages(draw: Any, kind: str) -> Any:
    """Messages of a kind: of random fields, or right but for one to three of them, or for some of their bytes."""
    how = draw(st.sampled_from(["random", "changed", "changed", "bytes"]))
    fields = FIELDS[kind]
    if how == "random":
        return TYPES[kind](**{name: draw(strategy) for name, strategy in fields.items()})
    message = copy.deepcopy(sound(kind))
    if how == "changed":
        for name in draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3, unique=True)):
            setattr(message, name, draw(fields[name]))
        return message
    if kind == COMPRESSED:
        message.data = _octets(draw(mutated(message.data.tobytes())))
    elif kind == TF:
        broken = draw(transform)
        message.transforms.append(broken)
    else:
        target = "data" if hasattr(message, "data") else "k"
        raw = draw(mutated(getattr(message, target).tobytes()))
        dtype = getattr(message, target).dtype
        setattr(message, target, np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype))
    return message


@st.composite
def mutated(draw: Any, raw: bytes) -> bytes:
    """Bytes that are cut, longer, or other ones in places."""
    data = bytearray(raw)
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(u8)
    end = draw(st.one_of(st.none(), st.integers(0, len(data))))
    return bytes(data if end is None else data[:end]) + draw(st.binary(max_size=6))


def serialised(kind: str) -> bytes:
    """A sound message as a recording holds it."""
    return bytes(STORE.serialize_cdr(sound(kind), kind))
