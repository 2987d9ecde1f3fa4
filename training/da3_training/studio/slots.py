# SPDX-License-Identifier: Apache-2.0
"""Memory that processes share: in each slot the pictures, depth and marks of one batch."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

from da3_training.config import TrainConfig
from da3_training.data.samples import Draw
from da3_training.data.view_sampling import image_sizes

log = logging.getLogger(__name__)

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
    """Slots in memory that is in no folder, so that none can be too small for it; other processes map it by way of the
    one that made it, and must do so while that lives.
    """

    def __init__(self, path: str, count: int, size: int) -> None:
        self._path, self._count, self._size = path, count, size
        self._memory: Tensor | None = None

    @classmethod
    def allocate(cls, count: int, size: int) -> Slots:
        """So many slots of so many bytes. Raises OSError where the memory is not there."""
        size = -(-size // 64) * 64
        handle = os.memfd_create("da3_studio")
        try:
            os.posix_fallocate(handle, 0, count * size)  # what is missing is told here, not by a signal later
        except OSError as error:
            os.close(handle)
            raise OSError(
                error.errno, f"no {count * size / 1e6:.0f} MB of memory for {count} batches: lower studio.slots"
            ) from error
        slots = cls(f"/proc/{os.getpid()}/fd/{handle}", count, size).opened()
        slots._handle = handle
        return slots

    _handle: int | None = None

    def __reduce__(self) -> tuple[type[Slots], tuple[str, int, int]]:
        """Another process is told where they are, not what they hold."""
        return Slots, (self._path, self._count, self._size)

    def opened(self) -> Slots:
        """The same slots, mapped into this process."""
        if self._memory is None:
            whole = torch.from_file(self._path, shared=True, size=self._count * self._size, dtype=torch.uint8)
            self._memory = whole.view(self._count, self._size)
        return self

    def close(self) -> None:
        """Nobody maps them any more; who has, keeps them."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def maps(self, slot: int, drawn: Draw) -> Maps:
        """The batch of a step with these numbers in `slot`, without a copy."""
        assert self._memory is not None
        shape = (drawn.scenes, drawn.views, drawn.height, drawn.width)
        pixels = drawn.scenes * drawn.views * drawn.height * drawn.width
        depth, pictures, marks = self._memory[slot, : BYTES * pixels].split((4 * pixels, 3 * pixels, pixels))
        return Maps(pictures.view(*shape, 3), depth.view(torch.float32).view(shape), marks.view(shape))

    def pin(self) -> bool:
        """Let a GPU copy straight from here; whether CUDA can. Where it cannot, copies take a detour."""
        assert self._memory is not None
        code = int(torch.cuda.cudart().cudaHostRegister(self._memory.data_ptr(), self._memory.numel(), 0))
        if code:
            log.warning("CUDA cannot pin shared memory (error %d): batches are copied in two steps", code)
            with suppress(RuntimeError):  # the error waits for the next kernel, which would be blamed for it
                torch.ones(1, device="cuda").add_(1)
        return code == 0


def slot_size(config: TrainConfig) -> int:
    """Bytes of the largest batch of a run in each process."""
    largest = 0
    for stage in config.stages:
        c = stage.samples
        pixels = max(h * w for h, w in (image_sizes(c.base) if c.base else c.sizes))
        largest = max(largest, max(c.views_per_batch, *c.view_counts) * pixels)
    return BYTES * largest
