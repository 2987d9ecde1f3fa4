# SPDX-License-Identifier: Apache-2.0
"""Images to network input: rectified, resized with their aspect kept, in one common size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.lens import blind, rectify
from da3_ros.estimation.resize import resize
from da3_ros.estimation.views import View
from da3_ros.geometry.cameras import CameraModel

PAD = 124
"""Grey of the border around images of another aspect: the mean of the network's normalisation."""


LEAST_SIDE = 8
"""Pixels: of less the network sees nothing."""
LARGEST_ASPECT = 20
"""Longer by shorter side: a network's input of 252 pixels has 18 patches in a row, and one is the least beside."""


@dataclass(frozen=True)
class Prepared:
    """Input for the engine and, for each view, what its pixels are."""

    images: NDArray[np.uint8]
    """(S, H, W, 3) RGB."""
    windows: tuple[tuple[int, int], ...]
    """Height and width of each view's content, from the top left corner."""
    cameras: tuple[CameraModel | None, ...]
    """Camera of each content window, without distortion."""
    rectified: tuple[NDArray[np.uint8], ...]
    """Each view at its own size, without distortion."""
    blind: tuple[NDArray[np.bool_] | None, ...] = ()
    """(h, w) of each content window: pixels that the lens never showed, see `lens.blind`; None: all are seen."""


def network_size(height: int, width: int, longest: int, patch: int) -> tuple[int, int]:
    """Size (h, w), multiples of `patch`, whose longer side is about `longest` and whose aspect is the image's.

    The shorter side goes to the nearest multiple, so that the aspect changes by a few percent at most.
    """
    scale = longest / max(height, width)
    h, w = (max(patch, round(side * scale / patch) * patch) for side in (height, width))
    return h, w


def why_unseen(image: NDArray[np.uint8]) -> str:
    """Why the network can see nothing in an image (H, W, 3), for its shape; empty: it can."""
    h, w = image.shape[:2]
    if min(h, w) >= LEAST_SIDE and max(h, w) <= LARGEST_ASPECT * min(h, w):
        return ""
    return (
        f"an image of {w}x{h} pixels is too small or too narrow for the network: at least {LEAST_SIDE} pixels a side, "
        f"and one side at most {LARGEST_ASPECT} times the other; crop or join it"
    )


def prepare(views: tuple[View, ...], longest: int, patch: int) -> Prepared:
    """Rectify, resize and stack `views`.

    The first view that the network can see decides the common size; a view of another aspect is fitted into it and
    padded on the right or at the bottom. Raises ValueError for a distortion model that is not known, and where the
    network can see no view, see `why_unseen`.
    """
    first = next((view for view in views if not why_unseen(view.image)), None)
    if first is None:
        raise ValueError(f"view {views[0].name!r}: {why_unseen(views[0].image)}")
    height, width = first.image.shape[:2]
    height, width = network_size(height, width, longest, patch)
    images = np.full((len(views), height, width, 3), PAD, dtype=np.uint8)
    windows, cameras, originals, unseen = [], [], [], []
    for i, view in enumerate(views):
        image, camera = rectify(view.image, view.camera)
        h, w = _fit(image.shape[0], image.shape[1], height, width, patch)
        images[i, :h, :w] = resize(image, w, h)
        windows.append((h, w))
        cameras.append(camera.scaled(w, h) if camera is not None else None)
        originals.append(image)
        unseen.append(None if view.camera is None else blind(view.camera, (h, w)))
    return Prepared(images, tuple(windows), tuple(cameras), tuple(originals), tuple(unseen))


def _fit(h0: int, w0: int, height: int, width: int, patch: int) -> tuple[int, int]:
    """Content size of an h0 x w0 image inside height x width; differences below a patch are not padded."""
    scale = min(height / h0, width / w0)
    h, w = max(round(h0 * scale), 1), max(round(w0 * scale), 1)
    return (height if height - h < patch else h), (width if width - w < patch else w)
