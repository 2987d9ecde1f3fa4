# SPDX-License-Identifier: Apache-2.0
"""Training batches: which views, which size, which augmentation. Everything follows from (seed, step) alone, so
that a resumed run sees exactly the batches that an uninterrupted one would."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from da3_ros.geometry import CameraModel
from da3_ros.network.model import IMAGE_MEAN, IMAGE_STD
from da3_training.records import Cluster, ViewRecord, list_rooms, load_room


@dataclass(frozen=True)
class SampleConfig:
    """How batches are drawn."""

    views_per_batch: int = 12
    """Images in a batch, whatever the number of views of a scene: a constant token budget."""
    view_counts: tuple[int, ...] = (1, 2, 2, 3, 4)
    """Numbers of views of a scene, drawn with equal probability."""
    sizes: tuple[tuple[int, int], ...] = ((126, 168), (126, 168), (112, 196), (140, 140))
    """(height, width) of training images; multiples of 14."""
    final_sizes: tuple[tuple[int, int], ...] = ((168, 224), (140, 252), (196, 196))
    """Sizes of the last part of the training."""
    final_views_per_batch: int = 8
    pose_probability: float = 0.2
    """Share of batches that give the true cameras to the network (paper: 0.2)."""
    max_depth: float = 40.0
    """Farther pixels are not supervised, in metres."""


@dataclass(frozen=True)
class Batch:
    """B scenes of S views."""

    images: Tensor
    """(B, S, 3, H, W), normalised."""
    depth: Tensor
    """(B, S, H, W) metres, 0 unknown."""
    valid: Tensor
    """(B, S, H, W) bool."""
    intrinsics: Tensor
    """(B, S, 3, 3)."""
    pose: Tensor
    """T_world_camera (B, S, 4, 4)."""
    posed: bool
    """Whether the network is told the cameras."""


class RoomSampler(torch.utils.data.Dataset):
    """Batches number 0 .. total_steps - 1 from a folder of rendered rooms."""

    def __init__(self, folder: Path, config: SampleConfig, seed: int, total_steps: int, final_fraction: float) -> None:
        self.rooms = list_rooms(folder)
        self.config, self.seed = config, seed
        self.total_steps = total_steps
        self.final_from = int(total_steps * (1 - final_fraction))

    def __len__(self) -> int:
        return self.total_steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step))
        c = self.config
        final = step >= self.final_from
        sizes = c.final_sizes if final else c.sizes
        budget = c.final_views_per_batch if final else c.views_per_batch
        height, width = sizes[rng.integers(len(sizes))]
        s = int(c.view_counts[rng.integers(len(c.view_counts))])
        scenes = [self._scene(rng, s, height, width) for _ in range(max(1, budget // s))]
        stacked = [torch.from_numpy(np.stack(part)) for part in zip(*scenes, strict=True)]
        images, depth, intrinsics, pose = stacked
        valid = (depth > 0.05) & (depth < c.max_depth)
        posed = bool(s > 1 and rng.random() < c.pose_probability)
        return Batch(images, depth, valid, intrinsics, pose, posed)

    def _scene(self, rng: np.random.Generator, s: int, height: int, width: int) -> tuple[NDArray, ...]:
        clusters = load_room(self.rooms[rng.integers(len(self.rooms))])
        cluster = clusters[rng.integers(len(clusters))]
        chosen = choose_views(rng, cluster, s)
        zoom = rng.uniform(0.65, 1.0)
        mirror = rng.random() < 0.5
        look = _random_look(rng)
        views = [load_view(view, height, width, zoom) for view in chosen]
        out = []
        for view in views:
            image, depth, k, pose = mirror_view(*view) if mirror else view
            out.append((normalise_image(look(image, rng)), depth, k, pose))
        return tuple(np.stack(part).astype(np.float32) for part in zip(*out, strict=True))


def choose_views(rng: np.random.Generator, cluster: Cluster, s: int) -> list[ViewRecord]:
    """`s` different views of a cluster in random order: the first becomes the reference."""
    if s > len(cluster.views):
        raise ValueError(f"a cluster has {len(cluster.views)} views, {s} were asked for: lower view_counts")
    return [cluster.views[i] for i in rng.permutation(len(cluster.views))[:s]]


def load_view(
    view: ViewRecord, height: int, width: int, zoom: float = 1.0
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Image (H, W, 3) uint8, depth (H, W), intrinsics (3, 3) and pose (4, 4) of a centred window of the view.

    zoom: side of the window as a share of the largest window of the wanted aspect.
    """
    image, depth = view.image(), view.depth()
    h0, w0 = depth.shape
    camera = CameraModel.from_matrix(view.intrinsics, w0, h0)
    side = min(w0 / width, h0 / height) * zoom
    w, h = round(width * side), round(height * side)
    x, y = (w0 - w) // 2, (h0 - h) // 2
    camera = camera.cropped(x, y, w, h).scaled(width, height)
    window = np.s_[y : y + h, x : x + w]
    image = cv2.resize(image[window], (width, height), interpolation=cv2.INTER_AREA if side > 1 else cv2.INTER_CUBIC)
    depth = cv2.resize(depth[window], (width, height), interpolation=cv2.INTER_NEAREST)
    return image, depth, camera.K, view.pose


def mirror_view(image: NDArray, depth: NDArray, k: NDArray, pose: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """The view in a mirrored world (x -> -x in the camera and in the world frame)."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    k = k.copy()
    k[0, 2] = image.shape[1] - 1 - k[0, 2]
    return image[:, ::-1], depth[:, ::-1], k, flip @ pose @ flip


def normalise_image(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 RGB -> (3, H, W) float32 with ImageNet statistics."""
    x = image.astype(np.float32) / 255.0
    x = (x - np.float32(IMAGE_MEAN)) / np.float32(IMAGE_STD)
    return np.ascontiguousarray(x.transpose(2, 0, 1))


def _random_look(rng: np.random.Generator):
    """A colour change shared by the views of a scene, with a small change of exposure for each view."""
    gain = rng.uniform(0.7, 1.35)
    white = rng.uniform(0.88, 1.12, 3)
    gamma = rng.uniform(0.75, 1.35)
    saturation = 0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.4)
    blur = rng.uniform(0.4, 1.1) if rng.random() < 0.25 else 0.0
    noise = rng.uniform(0, 10) if rng.random() < 0.3 else 0.0

    def look(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        levels = np.linspace(0, 1, 256)[:, None] ** gamma * white * gain * rng.uniform(0.93, 1.07)
        table = (np.clip(levels, 0, 1) * 255).astype(np.uint8)
        image = np.stack([table[image[..., i], i] for i in range(3)], axis=-1)
        grey = image.mean(axis=-1, keepdims=True)
        x = grey + (image - grey) * saturation
        if blur:
            x = cv2.GaussianBlur(x, (0, 0), blur)
        if noise:
            x = x + rng.normal(0, noise, x.shape)
        return np.clip(x, 0, 255).astype(np.uint8)

    return look
