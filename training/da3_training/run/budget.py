# SPDX-License-Identifier: Apache-2.0
"""What a configuration costs, before it runs: tokens of a step and memory of a process."""

from __future__ import annotations

import os

import torch

from da3_ros.network import create_model
from da3_ros.network.presets import PATCH
from da3_training.config import Stage, TrainConfig
from da3_training.data.view_sampling import image_sizes
from da3_training.run.networks import trainable


def budget(config: TrainConfig) -> str:
    """A table of parameters, tokens and memory of one process; nothing is allocated.

    Memory of weights, gradients, AdamW's moments and the moving average is exact (FSDP shares it out); that of
    activations is an estimate: 34 numbers a token and channel in each transformer block, 2 with recomputation, and the
    head's feature maps at full size, counted eight times.
    """
    with torch.device("meta"):
        model = trainable(create_model(config.preset))
    preset = model.preset
    total = sum(p.numel() for p in model.parameters())
    frozen = 0
    if config.frozen_blocks:
        vit = model.backbone.pretrained
        frozen = vit.cls_token.numel() + vit.pos_embed.numel() + sum(p.numel() for p in vit.patch_embed.parameters())
        frozen += sum(p.numel() for block in vit.blocks[: config.frozen_blocks] for p in block.parameters())
    trained = total - frozen
    world = int(os.environ.get("WORLD_SIZE", "1"))
    shards = world if config.runtime.strategy == "fsdp" else 1
    state = (4 * total + 4 * trained * 4) / shards
    lines = [
        f"network      {config.preset}, {total / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained",
        f"processes    {world}, {config.runtime.strategy}, {config.runtime.precision}",
        f"state        {state / 2**30:.2f} GiB a process (weights, gradients, two moments, moving average)",
    ]
    activation = 2 if "16" in config.runtime.precision else 4
    per_block = 2 if config.runtime.activation_checkpointing else 34
    for number, stage in enumerate(config.stages):
        images, tokens, pixels = _step(stage)
        blocks = tokens * preset.width * activation * per_block * (preset.depth - config.frozen_blocks)
        head = 8 * pixels * (preset.head_features // 2 + 32) * activation
        steps = "" if config.hours else f" to step {round(stage.until * config.steps)}"
        lines.append(
            f"stage {number}      {images} images, {tokens} tokens a process, {images * world} images a step"
            f"{steps}; about {(blocks + head) / 2**30:.2f} GiB of activations"
        )
    return "\n".join(lines)


def _step(stage: Stage) -> tuple[int, int, int]:
    """Images, tokens and pixels of the largest batch of a stage."""
    c = stage.samples
    sizes = image_sizes(c.base) if c.base else list(c.sizes)
    pixels = max(h * w for h, w in sizes)
    images = max(c.views_per_batch, *c.view_counts)
    return images, images * (pixels // PATCH**2 + 1), images * pixels
