# SPDX-License-Identifier: Apache-2.0
"""Batches: as worker processes prepare them, in bytes, and as a network sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

VALID, SKY, SKY_KNOWN, OBJECT = 1, 2, 4, 8
"""Bits of `RawScene.marks`: depth may be learned from; sky; it is known whether there is sky; on the object."""


class RawScene(NamedTuple):
    """S views of one scene at the size of the step; pictures are still bytes, and look as they were taken."""

    pictures: NDArray[np.uint8]
    """(S, H, W, 3): RGB photos, or, where `rendered`, the square root of linear colour."""
    depth: NDArray[np.float32]
    """(S, H, W), 0 unknown."""
    marks: NDArray[np.uint8]
    """(S, H, W), bits."""
    intrinsics: NDArray[np.float32]
    """(S, 3, 3)."""
    pose: NDArray[np.float32]
    """(S, 4, 4), T_world_camera; the first view is the world."""
    looks: NDArray[np.float32]
    """(S, L): a row of numbers a view, see `da3_training.data.look`."""
    sensors: NDArray[np.float32]
    """(S, K): of the camera that takes a rendered scene, see `da3_training.data.camera`; zeros for photos."""
    metric: bool
    rendered: bool


@dataclass(frozen=True)
class RawBatch:
    """B scenes of S views; tensors as in `RawScene`, with B in front."""

    pictures: Tensor
    depth: Tensor
    marks: Tensor
    intrinsics: Tensor
    pose: Tensor
    looks: NDArray[np.float32]
    """(B, S, L), stays with the processor: what it draws decides which work is queued."""
    sensors: NDArray[np.float32]
    """(B, S, K), stays likewise."""
    metric: Tensor
    """(B,) bool."""
    rendered: NDArray[np.bool_]
    """(B,)."""
    posed: bool
    """Whether the network is told the cameras."""
    broken: tuple[str, ...] = ()
    """What could not be read on the way; other scenes were drawn instead."""

    def to(self, device: torch.device) -> RawBatch:
        """The batch on another device, without waiting for the copies."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> RawBatch:
        """The batch in memory that a GPU copies from by itself (called by PyTorch's loader)."""
        return self.each(Tensor.pin_memory)

    def each(self, change: Callable[[Tensor], Tensor]) -> RawBatch:
        """The batch with every tensor changed."""
        changed: dict[str, Any] = {n: change(value) for n, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **changed)


def collate(scenes: Sequence[RawScene], posed: bool, broken: Sequence[str] = ()) -> RawBatch:
    """Scenes as one batch."""
    stacked = {
        name: np.stack([getattr(scene, name) for scene in scenes])
        for name in ("pictures", "depth", "marks", "intrinsics", "pose", "looks", "sensors", "metric", "rendered")
    }
    tensors = {
        name: torch.from_numpy(stacked[name]) for name in ("pictures", "depth", "marks", "intrinsics", "pose", "metric")
    }
    kept = {name: stacked[name] for name in ("looks", "sensors", "rendered")}
    parts: dict[str, Any] = {**tensors, **kept}
    return RawBatch(**parts, posed=posed, broken=tuple(broken))


@dataclass
class Batch:
    """B scenes of S views; not frozen, since mixed precision sets the tensors of a copy anew."""

    images: Tensor
    """(B, S, 3, H, W), normalised."""
    depth: Tensor
    """(B, S, H, W), 0 unknown; metres where `metric`."""
    valid: Tensor
    """(B, S, H, W) bool."""
    sky: Tensor
    """(B, S, H, W) bool."""
    sky_known: Tensor
    """(B, S, H, W) bool: where it is known whether there is sky."""
    alpha: Tensor
    """(B, S, H, W) bool: False on the background of single objects."""
    intrinsics: Tensor
    """(B, S, 3, 3)."""
    pose: Tensor
    """T_world_camera (B, S, 4, 4)."""
    metric: Tensor
    """(B,) bool."""
    posed: bool
    """Whether the network is told the cameras."""
    broken: tuple[str, ...] = ()
    """What could not be read on the way; other scenes were drawn instead."""
