# SPDX-License-Identifier: Apache-2.0
"""The one record format of all data sets: a posed image with depth and masks, read on demand from its own files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_training.data.codecs import read_depth, read_mask


class BrokenSampleError(ValueError):
    """A sample that cannot be used; the message names the file and says what is wrong with it."""


class Record(NamedTuple):
    """One view in memory. All maps have the size of the image."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    depth: NDArray[np.float32]
    """(H, W) along the optical axis, in metres if `metric`; 0 where unknown."""
    valid: NDArray[np.bool_]
    """(H, W) where the depth may be learned from."""
    sky: NDArray[np.bool_] | None
    """(H, W), None where the data set does not tell."""
    alpha: NDArray[np.bool_] | None
    """(H, W) True on the object, for data sets that show single objects; else None."""
    intrinsics: NDArray[np.float64]
    """(3, 3) in pixels, pixel centres at integers."""
    pose: NDArray[np.float64]
    """T_world_camera (4, 4), OpenCV axes, in the unit of the depth."""
    source: str
    metric: bool


@dataclass(frozen=True)
class ViewRecord:
    """Where one view lies on disk; `load` reads it."""

    image_path: Path
    depth_path: Path
    intrinsics: NDArray[np.float64]
    """(3, 3) in pixels of the image file, pixel centres at integers."""
    pose: NDArray[np.float64]
    """T_world_camera (4, 4), OpenCV axes."""
    codec: str = "png_mm"
    """How the depth file is read: a name in `da3_training.data.codecs.DEPTH`."""
    factor: float = 1.0
    """What the depth file's numbers are multiplied with on top of its codec."""
    mask_path: Path | None = None
    """Image that is not 0 on the object, or where depth is valid: `mask_means`."""
    mask_means: str = "object"
    """``object`` or ``valid``."""
    sky_from: float = 0.0
    """Depth from which on a pixel is sky; 0 where the set does not tell sky from unknown depth."""
    sky_is_zero: bool = False
    """Whether a depth of 0 is sky."""
    source: str = "rooms"
    metric: bool = True
    key: str = ""
    """Name of the view within its data set: scene/cluster_view."""
    extra: dict[str, float] = field(default_factory=dict)
    """Numbers that the codec needs."""

    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB; raises `BrokenSampleError` when the file cannot be decoded."""
        bgr = cv2.imread(str(self.image_path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise BrokenSampleError(f"{self.image_path} is not a readable image: make or fetch it again")
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    def depth(self) -> NDArray[np.float32]:
        """(H, W) as stored, along the optical axis, 0 where unknown; raises `BrokenSampleError`."""
        try:
            depth = read_depth(self.depth_path, self.codec, self.intrinsics, self.extra)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise BrokenSampleError(f"{self.depth_path} is not a readable {self.codec} depth map: {error}") from error
        return depth * np.float32(self.factor)

    def load(self) -> Record:
        """Read and check the view; raises `BrokenSampleError`."""
        image, depth = self.image(), self.depth()
        h, w = image.shape[:2]
        if not np.isfinite(self.pose).all():
            raise BrokenSampleError(f"{self.image_path} has a pose that is not finite")
        if abs(w / h - depth.shape[1] / depth.shape[0]) > 0.02 * w / h:
            raise BrokenSampleError(
                f"{self.depth_path} of {depth.shape[1]} x {depth.shape[0]} is not of the shape of {w} x {h} images"
            )
        if depth.shape != (h, w):  # sensors of coarser depth: no value is made up between two pixels
            depth = cv2.resize(depth, (w, h), interpolation=cv2.INTER_NEAREST)
        finite = np.isfinite(depth) & (depth > 0)
        sky = None
        if self.sky_from or self.sky_is_zero:
            far = (depth >= self.sky_from) | np.isposinf(depth) if self.sky_from else np.zeros_like(finite)
            sky = far | (depth == 0) if self.sky_is_zero else far
        valid = finite if sky is None else finite & ~sky
        alpha = None
        if self.mask_path is not None:
            mask = read_mask(self.mask_path, (h, w))
            if mask is None:
                raise BrokenSampleError(f"{self.mask_path} is not a readable mask: make or fetch it again")
            valid = valid & mask
            alpha = mask if self.mask_means == "object" else None
        depth = np.where(valid, depth, 0).astype(np.float32)
        return Record(image, depth, valid, sky, alpha, self.intrinsics, self.pose, self.source, self.metric)


@dataclass(frozen=True)
class Cluster:
    """Views of one scene among which a training sample is drawn."""

    kind: str
    views: tuple[ViewRecord, ...]


class Scenes(Protocol):
    """Scenes in a fixed order, as a folder of a data set or anything else that holds them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> list[Cluster]:
        """Clusters of scene `index`; raises `BrokenSampleError` that names what cannot be read."""
        ...


def load_room(folder: Path) -> list[Cluster]:
    """Clusters of one scene in this project's own layout (`scene.json`, images, 16-bit depth)."""
    scene = json.loads((folder / "scene.json").read_text())
    sky = bool(scene.get("sky_is_zero", False))
    metric, source = bool(scene.get("metric", True)), str(scene.get("source", "rooms"))
    return [
        Cluster(
            cluster["kind"],
            tuple(
                ViewRecord(
                    folder / view["image"],
                    folder / view["depth"],
                    np.array(view["K"], dtype=np.float64),
                    np.array(view["T_world_camera"], dtype=np.float64),
                    factor=float(scene.get("depth_factor", 1.0)),
                    sky_is_zero=sky,
                    metric=metric,
                    source=source,
                )
                for view in cluster["views"]
            ),
        )
        for cluster in scene["clusters"]
    ]
