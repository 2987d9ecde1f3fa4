# SPDX-License-Identifier: Apache-2.0
"""AdamW with layer-wise learning rates, the schedule, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from da3_training.config import OptimiserConfig

BACKBONE = "backbone.pretrained."


def make_optimiser(learner: nn.Module, depth: int, config: OptimiserConfig, fused: bool = True) -> torch.optim.AdamW:
    """AdamW over the parameters that are trained; each group carries its full rate as ``base``.

    fused: one kernel for all parameters, which `step_if_finite` needs to skip a step without waiting for the device;
    sharded parameters (FSDP) have none on a CPU.

    Block i of `depth` learns at backbone_learning_rate * layer_decay^(depth - 1 - i), embeddings as a block before
    the first, everything else at learning_rate. Vectors (biases, norms, LayerScale) and tokens are not decayed.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim >= 2 and not name.endswith(("_token", "pos_embed"))
            groups.setdefault((_rate(name, depth, config), decayed), []).append(parameter)
    listed = [
        {
            "params": members,
            "lr": rate,
            "base": rate,
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for (rate, decayed), members in sorted(groups.items(), key=lambda item: item[0])
    ]
    return torch.optim.AdamW(listed, betas=config.betas, fused=fused)


def step_if_finite(optimiser: Any, norm: Tensor) -> None:
    """Step unless the gradients' `norm` (a number on the device) is not finite; the parameters then stay.

    optimiser: `make_optimiser`'s, or Fabric's around it. Fused, the device decides by itself.
    """
    inner = getattr(optimiser, "optimizer", optimiser)
    if inner.defaults["fused"]:
        inner.grad_scale, inner.found_inf = None, (~torch.isfinite(norm)).to(torch.float32)
        optimiser.step()
    elif bool(torch.isfinite(norm)):
        optimiser.step()


def _rate(name: str, depth: int, config: OptimiserConfig) -> float:
    if BACKBONE not in name:
        return config.learning_rate
    rest = name.split(BACKBONE)[1]
    if rest.startswith("blocks."):
        below = depth - 1 - int(rest.split(".")[1])
    else:
        # The final norm and the camera token belong to the end, embeddings to the beginning.
        below = depth if rest.startswith(("patch_embed", "pos_embed", "cls_token")) else 0
    return config.backbone_learning_rate * config.layer_decay**below


def rate_factor(step: int, progress: float, config: OptimiserConfig) -> float:
    """Share of the full learning rate: linear warm-up over steps times a cosine over `progress` (0 to 1)."""
    warm = min(1.0, (step + 1) / max(config.warmup, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return warm * (config.floor + (1 - config.floor) * cosine)


class MovingAverage:
    """Exponential moving average of the parameters of a module, each process of its own (shards of) parameters."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._own = [p for p in module.parameters() if p.requires_grad]
        self._average = [p.detach().clone() for p in self._own]

    def update(self, step: int) -> None:
        """Move towards the current weights; the first steps are forgotten faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self._average, [p.detach() for p in self._own], 1 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Within the block the module has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        with torch.no_grad():
            for own, average in zip(self._own, self._average, strict=True):
                kept = own.detach().clone()
                own.copy_(average)
                average.copy_(kept)

    def load_from_module(self) -> None:
        """Take the module's current weights as the average."""
        with torch.no_grad():
            for own, average in zip(self._own, self._average, strict=True):
                average.copy_(own)
