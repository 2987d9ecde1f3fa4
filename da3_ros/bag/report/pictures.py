# SPDX-License-Identifier: Apache-2.0
"""Small pictures of a set for the report: image, depth, confidence; and depth before and after, with the evidence."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import ViewEstimate
from da3_ros.visual import confidence_to_color, depth_to_color

log = logging.getLogger(__name__)

WIDTH = 240
QUALITY = 82
_REFINEMENT = ".refinement.jpg"


def set_pictures(index: int, views: Sequence[ViewEstimate]) -> Iterator[tuple[str, bytes]]:
    """Name and JPEG of each view of a set: image, depth and confidence side by side, and where depth was to be refined:
    before, after, evidence. Depth has one scale for the whole set. In the place of a picture that cannot be drawn one
    says why: no run ends for it.
    """
    try:
        yield from _set_pictures(index, views)
    except Exception as error:  # whatever an odd size or value does to OpenCV and NumPy
        reason = f"{type(error).__name__}: {error}"
        log.warning("set %d: no picture for the report: %s", index, reason)
        for view in views:
            yield f"{index:08d}_{view.name}.jpg", _words(f"no picture: {reason}")


def _words(text: str) -> bytes:
    """A picture with nothing but words."""
    blank = np.full((WIDTH // 4, 3 * WIDTH, 3), 235, np.uint8)
    cv2.putText(blank, text[:110], (8, 34), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (150, 20, 20), 1, cv2.LINE_AA)
    return _jpeg(blank)


def _set_pictures(index: int, views: Sequence[ViewEstimate]) -> Iterator[tuple[str, bytes]]:
    near, far = _near_and_far(views)
    for view in views:
        after = depth_to_color(view.depth, near, far)
        yield f"{index:08d}_{view.name}.jpg", _side_by_side(view.image, after, confidence_to_color(view.confidence))
        told = view.refinement
        if told is None or told.evidence is None or told.unrefined is None or not np.isfinite(told.evidence).any():
            continue
        evidence = depth_to_color(_spread(told.evidence), near, far)
        before = depth_to_color(told.unrefined, near, far)
        yield f"{index:08d}_{view.name}{_REFINEMENT}", _side_by_side(before, after, evidence)


def _near_and_far(views: Sequence[ViewEstimate]) -> tuple[float, float]:
    """Range of the colours of depth that views share."""
    every = np.concatenate([view.depth[np.isfinite(view.depth) & (view.depth > 0)] for view in views])
    near, far = np.percentile(every, (2, 98)) if len(every) else (0.1, 1.0)
    return float(near), float(far)


def is_of_refinement(picture: Path) -> bool:
    """Whether a file shows depth before and after its refinement."""
    return picture.name.endswith(_REFINEMENT)


def _spread(evidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Evidence (h, w) whose pixels are as large as those of the picture: the mean would hide what stands alone."""
    reach = max(1, round(evidence.shape[1] / WIDTH))
    filled = np.where(np.isfinite(evidence), evidence, np.float32(np.inf))
    nearest = cv2.erode(filled, np.ones((reach, reach), np.uint8))
    return np.where(np.isfinite(nearest), nearest, np.float32(np.nan))


def _side_by_side(*images: NDArray[np.uint8]) -> bytes:
    """JPEG of images (h, w, 3), each WIDTH wide and as high as the second one then is."""
    height = max(1, round(images[1].shape[0] * WIDTH / images[1].shape[1]))
    return _jpeg(np.hstack([cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA) for image in images]))


def _jpeg(rgb: NDArray[Any], quality: int = QUALITY) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV cannot write JPEG: install an OpenCV with it")
    return bytes(data)


def image_and_depth(
    views: Sequence[ViewEstimate], images: Sequence[NDArray[np.uint8]], width: int
) -> list[tuple[bytes, bytes]]:
    """JPEG of the image and of the depth of each view, so many pixels wide. Depth has one scale for all of them."""
    near, far = _near_and_far(views)
    out = []
    for view, pixels in zip(views, images, strict=True):
        size = width, max(1, round(view.depth.shape[0] * width / view.depth.shape[1]))
        both = pixels, depth_to_color(view.depth, near, far)
        image, depth = (_jpeg(cv2.resize(each, size, interpolation=cv2.INTER_AREA), 75) for each in both)
        out.append((image, depth))
    return out
