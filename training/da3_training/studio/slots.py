# SPDX-License-Identifier: Apache-2.0
"""Memory that processes share: in each slot the pictures, depth and marks of one batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from da3_training.config import TrainConfig
from da3_training.data.samples import Draw
from da3_training.data.view_sampling import image_sizes

BYTES = 4 + 3 + 1
"""Of a pixel: depth, colour, marks."""


class Maps(NamedTuple):
    """What lies in a slot, for a batch of B scenes of S views."""

    pictures: Tensor
    """(B, S, H, W, 3) uint8."""
    depth: Tensor
    """(B, S, H, W) float32."""
    marks: Tensor
    """(B, S, H, W) uint8."""


class Slots:
    """Slots in memory (count, bytes) that other processes were given as well."""

    def __init__(self, memory: Tensor) -> None:
        self.memory = memory

    @classmethod
    def allocate(cls, count: int, size: int) -> Slots:
        """So many slots of so many bytes."""
        return cls(torch.empty(count, -(-size // 64) * 64, dtype=torch.uint8).share_memory_())

    def maps(self, slot: int, drawn: Draw) -> Maps:
        """The batch of a step with these numbers in `slot`, without a copy."""
        shape = (drawn.scenes, drawn.views, drawn.height, drawn.width)
        pixels = drawn.scenes * drawn.views * drawn.height * drawn.width
        depth, pictures, marks = self.memory[slot, : BYTES * pixels].split((4 * pixels, 3 * pixels, pixels))
        return Maps(pictures.view(*shape, 3), depth.view(torch.float32).view(shape), marks.view(shape))

    def pin(self) -> None:
        """Let a GPU copy straight from here; raises RuntimeError where CUDA refuses."""
        code = int(torch.cuda.cudart().cudaHostRegister(self.memory.data_ptr(), self.memory.numel(), 0))
        if code:
            raise RuntimeError(f"CUDA cannot pin {self.memory.numel()} bytes of shared memory (error {code})")


def slot_size(config: TrainConfig) -> int:
    """Bytes of the largest batch of a run in each process."""
    largest = 0
    for stage in config.stages:
        c = stage.samples
        pixels = max(h * w for h, w in (image_sizes(c.base) if c.base else c.sizes))
        largest = max(largest, max(c.views_per_batch, *c.view_counts) * pixels)
    return BYTES * largest
