# SPDX-License-Identifier: Apache-2.0
"""What the names of image topics tell: whether images are rectified or depth, and which camera they are of."""

from __future__ import annotations

import re
from functools import lru_cache

COMPRESSED = "/compressed"
_RECTIFIED = {"rect", "rectified", "rectify", "undistorted", "undistort"}
_RAW = {"raw", "unrect", "unrectified", "unrectify", "distorted"}
_DEPTH = {"depth", "depthmap", "disparity", "disp"}
_INFRARED = {"ir", "infra", "infrared", "nir", "thermal"}
_MADE = {
    *("mask", "masks", "segmentation", "segmented", "semantic", "semantics", "label", "labels"),
    *("debug", "dbg", "overlay", "annotated", "detections", "confidence"),
}
"""Words of pictures that programs make of others."""
_COLOURS = {"color", "colour", "mono", "rgb", "bgr", "rgba", "gray", "grey", "bayer"}
# What a topic's last name says of the picture, and not of the camera.
_PLAIN = {"image", "images", "img", "data", "compressed", "jpeg", "jpg", "png"} | _RECTIFIED | _RAW | _COLOURS


def parts(topic: str) -> list[str]:
    """The names that a topic consists of."""
    return [part for part in topic.split("/") if part]


def base(topic: str) -> str:
    """The topic without image_transport's ``/compressed``."""
    return topic.removesuffix(COMPRESSED) if len(parts(topic)) > 1 else topic


@lru_cache(maxsize=1024)
def words(name: str) -> tuple[str, ...]:
    """The words of a name in small letters: ``left_imageRect2`` has left, image, rect and 2."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=[0-9])", "_", name)
    return tuple(word.lower() for word in re.split(r"[^A-Za-z0-9]+", apart) if word)


def is_rectified(topic: str) -> bool:
    """Whether a topic says that its images are rectified, as ``image_rect``, ``rect/image``, ``image_rect_raw`` do; the
    last of its names that says anything counts. Letters within a word say nothing: ``image_direct``.
    """
    for name in reversed(parts(base(topic))):
        said = set(words(name))
        if said & _RECTIFIED:
            return True
        if said & _RAW:
            return False
    return False


def says_raw(topic: str) -> bool:
    """Whether a topic says that its images are raw, and nothing else: ``left_rect/image_raw`` says both."""
    said = {word for name in parts(base(topic)) for word in words(name)}
    return bool(said & _RAW) and not said & _RECTIFIED


def says_depth(topic: str) -> bool:
    """Whether a topic says that its values are distances: the last of its names that tells depth from colour counts, so
    that ``/depth_camera/rgb/image_raw`` says colour.
    """
    for name in reversed(parts(topic)):
        said = set(words(name))
        if said & _DEPTH:
            return True
        if said & (_INFRARED | (_COLOURS - {"mono", "gray", "grey"})):
            return False
    return False


def says_infrared(topic: str) -> bool:
    """Whether a topic says that its values are infrared light."""
    return not says_depth(topic) and any(set(words(name)) & _INFRARED for name in parts(topic))


def is_derived(topic: str) -> bool:
    """Whether a topic says that its pictures are made of others, for people or as labels: drawn depth, segmentation,
    debug images. A device that is called a depth camera says nothing.
    """
    space, camera = camera_of(topic)
    own = set(words(camera or (parts(space) or [""])[-1]))
    drawn = own & _DEPTH and not own & {"camera", "cam"}
    return bool(drawn) or any(set(words(name)) & _MADE for name in parts(topic))


def colours_of(topic: str) -> set[str]:
    """The colours that tell a picture from others of the same name: mono beside color."""
    return picture_of(topic) & _COLOURS


def camera_of(topic: str) -> tuple[str, str]:
    """Namespace and name of the camera that a topic is a picture of; several pictures of one camera (raw, rectified, in
    grey, compressed) have the same. The name is empty where the namespace alone tells it.
    """
    *space, last = parts(base(topic)) or [""]
    while space and set(words(last)) <= _PLAIN and set(words(space[-1])) <= (_RECTIFIED | _RAW | {"image"}):
        last = space.pop()  # `rect/image` beside `raw/image`
    left = [word for word in words(last) if word not in _PLAIN]
    return "/" + "/".join(space), "_".join(_joined(left))


def picture_of(topic: str) -> set[str]:
    """The words of a topic that tell its picture from others of the same camera: image and raw, image and rect."""
    space, _ = camera_of(topic)
    said = [word for name in parts(base(topic))[len(parts(space)) :] for word in words(name)]
    return {"color" if word == "colour" else word for word in said if word in _PLAIN and word != "compressed"}


def _joined(found: list[str]) -> list[str]:
    """Numbers belong to the word before them: ``camera1``."""
    joined: list[str] = []
    for word in found:
        if word.isdigit() and joined and not joined[-1][-1].isdigit():
            joined[-1] += word
        else:
            joined.append(word)
    return joined
