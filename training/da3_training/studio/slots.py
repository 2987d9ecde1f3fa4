# SPDX-License-Identifier: Apache-2.0
"""Memory that processes share: in each slot the pictures, depth and marks of one batch."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from da3_training.config import TrainConfig
from da3_training.data.samples import Draw
from da3_training.data.view_sampling import image_sizes

log = logging.getLogger(__name__)

SHARED = Path("/dev/shm")
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
    """Slots in a file that processes map: in /dev/shm or, where that is too small, as in containers, elsewhere."""

    def __init__(self, path: Path, count: int, size: int) -> None:
        self._path, self._count, self._size = path, count, size
        self._memory: Tensor | None = None

    @classmethod
    def allocate(cls, count: int, size: int) -> Slots:
        """So many slots of so many bytes, in the process that gives them to others."""
        size = -(-size // 64) * 64
        room = shutil.disk_usage(SHARED).free if SHARED.is_dir() else 0
        folder = SHARED if room > 1.1 * count * size else Path(tempfile.gettempdir())
        if folder != SHARED:
            log.warning(
                "%s has %.0f MB free, %d batches need %.0f: they go through %s, which may be slower",
                SHARED, room / 1e6, count, count * size / 1e6, folder,
            )  # fmt: skip
        handle, name = tempfile.mkstemp(prefix="da3_studio_", dir=folder)
        try:
            os.posix_fallocate(handle, 0, count * size)  # what is missing is told here, not by a signal later
        except OSError as error:
            os.unlink(name)
            raise OSError(
                error.errno, f"{folder} has no {count * size / 1e6:.0f} MB for {count} batches: lower studio.slots"
            ) from error
        finally:
            os.close(handle)
        return cls(Path(name), count, size).opened()

    def __getstate__(self) -> tuple[Path, int, int]:
        return (self._path, self._count, self._size)

    def __setstate__(self, state: tuple[Path, int, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def opened(self) -> Slots:
        """The same slots, mapped into this process."""
        if self._memory is None:
            whole = torch.from_file(str(self._path), shared=True, size=self._count * self._size, dtype=torch.uint8)
            self._memory = whole.view(self._count, self._size)
        return self

    def close(self) -> None:
        """Remove the file; who has mapped it keeps it until the process ends."""
        self._path.unlink(missing_ok=True)

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
            log.warning("CUDA cannot pin %s (error %d): batches are copied in two steps", self._path, code)
        return code == 0


def slot_size(config: TrainConfig) -> int:
    """Bytes of the largest batch of a run in each process."""
    largest = 0
    for stage in config.stages:
        c = stage.samples
        pixels = max(h * w for h, w in (image_sizes(c.base) if c.base else c.sizes))
        largest = max(largest, max(c.views_per_batch, *c.view_counts) * pixels)
    return BYTES * largest
