# SPDX-License-Identifier: Apache-2.0
"""The transformer's blocks through `torch.compile`, given up aloud where that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from da3_ros.network.backbone import Attention, Block

log = logging.getLogger(__name__)
T = TypeVar("T")


class CompiledBlocks:
    """Blocks of a module whose forward passes are compiled, each with sizes that may change."""

    def __init__(self, module: nn.Module, tapped: Attention | None = None) -> None:
        """tapped: attention whose inside is looked at during training; its block stays as it is."""
        self._blocks = [b for b in module.modules() if isinstance(b, Block) and b.attn is not tapped]
        self._plain = [b.forward for b in self._blocks]
        for block, plain in zip(self._blocks, self._plain, strict=True):
            block.forward = torch.compile(plain, dynamic=True)  # type: ignore[method-assign]

    @property
    def active(self) -> bool:
        """Whether they still run compiled."""
        return bool(self._plain)

    def run(self, step: Callable[[], T]) -> T:
        """The result of `step`, which goes through the blocks; once more without compilation where that fails.

        What fails without it as well raises as it would have.
        """
        if not self.active:
            return step()
        try:
            return step()
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self._restore()
            result = step()
            log.warning("torch.compile failed (%s): the blocks run as they are from here on", reason[:300])
            return result

    def _restore(self) -> None:
        for block, plain in zip(self._blocks, self._plain, strict=True):
            block.forward = plain  # type: ignore[method-assign]
        self._plain = []
