# SPDX-License-Identifier: Apache-2.0
"""Processes and memory: Lightning Fabric set up for torchrun, DDP, FSDP and activation checkpointing."""

from __future__ import annotations

import functools
import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

from da3_ros.network.backbone import Block
from da3_training.config import RuntimeConfig

STRATEGIES = ("auto", "ddp", "fsdp")


def make_fabric(config: RuntimeConfig) -> Fabric:
    """Fabric for this process; under torchrun, for all of its processes.

    Raises ValueError for an unknown strategy, and for several processes of one without a strategy.
    """
    if config.strategy not in STRATEGIES:
        raise ValueError(f"unknown strategy {config.strategy!r}; allowed: {', '.join(STRATEGIES)}")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    strategy: Any = "auto"
    if config.strategy == "fsdp":
        strategy = ModelParallelStrategy(
            shard, data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    elif config.strategy == "ddp" or world > 1:
        # Some parts rest in some steps: the camera encoder without known cameras, ray levels that are never used.
        strategy = DDPStrategy(find_unused_parameters=True)
    precision: dict[str, Any] = {"precision": config.precision}
    if config.precision == "bf16-mixed":
        gpu = config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        precision = {"plugins": [ExactInputs("bf16-mixed", "cuda" if gpu else "cpu")]}
    return Fabric(
        accelerator=config.accelerator,
        devices=local,
        num_nodes=max(1, world // local),
        strategy=strategy,
        **precision,
    )


class ExactInputs(MixedPrecision):
    """Mixed precision that leaves what it is given as it is: Lightning's own would round the true depth and cameras to
    the network's eight bits.
    """

    def convert_input(self, data: Any) -> Any:
        """The same."""
        return data


def recompute_blocks(module: nn.Module) -> None:
    """Make every transformer block recompute its activations in the backward pass; parameter names stay."""
    for part in module.modules():
        if isinstance(part, Block):
            part.forward = functools.partial(checkpoint, part.forward, use_reentrant=False)  # type: ignore[method-assign]


def shard(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """FSDP: every transformer block, and the rest as one, keep a part of their parameters in each process."""
    shares = mesh["data_parallel"]
    for part in module.modules():
        if isinstance(part, Block):
            fully_shard(part, mesh=shares)
    fully_shard(module, mesh=shares)
    return module
