# SPDX-License-Identifier: Apache-2.0
"""What is learned: from a batch to a loss, for each kind of network."""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from da3_ros.geometry.poses import invert, matrix_from_quaternion, normalise_baseline, rotation_angle
from da3_ros.network.backbone import Attention, Block
from da3_ros.network.presets import PATCH
from da3_training.config import MatchingConfig, TrainConfig
from da3_training.data.batch import Batch
from da3_training.data.correspondence import patch_correspondence
from da3_training.data.normalise import Scene, normalise_scene
from da3_training.losses.any_view import any_view_loss
from da3_training.losses.correspondence import AttentionTap, correspondence_loss
from da3_training.losses.flow import FlowReadout, flow_loss
from da3_training.losses.teacher import single_view_loss
from da3_training.run.dropout import drop_features
from da3_training.run.networks import Trainable


class Result(NamedTuple):
    """Loss of one batch, its terms for the log, and the depth for pictures."""

    loss: Tensor
    terms: dict[str, Tensor]
    """Single numbers, on the device: reading one waits for it."""
    depth: Tensor
    """(B, S, H, W), detached."""


class Learner(nn.Module):
    """A network with what training adds to it; its forward pass is from batch to loss, as DDP and FSDP want it."""

    def __init__(self, model: Trainable, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config
        matching = config.matching
        self.readouts = nn.ModuleDict()
        drop_features(model.head, config.head_dropout)
        if config.task == "any_view" and matching.flow > 0:
            check_matching_block(model, matching)
            blocks = [b for b in (matching.block, matching.block + 1) if b < model.preset.depth]
            self.readouts.update({str(b): FlowReadout(model.preset.width) for b in blocks})

    def forward(self, batch: Batch) -> Result:
        """Loss of a batch, in single precision whatever the network computes in."""
        return self._any_view(batch) if self.config.task == "any_view" else self._single_view(batch)

    def _any_view(self, batch: Batch) -> Result:
        """Known cameras are given without their scale, relative to the first view."""
        views, grid = batch.images.shape[1], [side // PATCH for side in batch.images.shape[-2:]]
        extrinsics = intrinsics = None
        if batch.posed:
            with _exactly(batch):
                extrinsics, intrinsics = invert(normalise_baseline(batch.pose)), batch.intrinsics
        matching = self.config.matching
        matched = views > 1 and (matching.weight > 0 or matching.flow > 0)
        tap = AttentionTap(self._attention(matching.block)) if matched else None
        features = [int(name) for name in self.readouts] if matched else []
        with tap if tap is not None else nullcontext():
            rays = views > 1 or self.config.loss.lone_rays
            out = self.model(batch.images, extrinsics, intrinsics, reference="first", features=features, rays=rays)
        with _exactly(batch):
            return self._any_view_loss(batch, {key: value.float() for key, value in out.items()}, tap, grid)

    def _any_view_loss(self, batch: Batch, out: dict[str, Tensor], tap: AttentionTap | None, grid: list[int]) -> Result:
        matching, views = self.config.matching, batch.images.shape[1]
        scene = normalise_scene(batch.depth, batch.valid, batch.pose, batch.intrinsics)
        total, terms = any_view_loss(out, scene, self.config.loss)
        if tap is not None:
            truth = patch_correspondence(scene)
            match, hits = correspondence_loss(tap.logits(views, matching.heads).float(), truth, (grid[0], grid[1]))
            total = total + matching.weight * match
            terms.update(match=match.detach(), hits=hits)
            for name, readout in self.readouts.items():
                flow = flow_loss(readout(out[f"features_{name}"]), truth, grid[1])
                total = total + matching.flow * flow
                terms[f"flow_{name}"] = flow.detach()
        if views > 1:
            # Apart, since cameras that were given need only be copied.
            prefix = "given_" if batch.posed else ""
            errors = pose_errors(out["pose_code"].detach(), scene)
            terms.update({prefix + name: value for name, value in errors.items()})
        return Result(total, terms, out["depth"].detach() * scene.scale[:, None, None, None])

    def _attention(self, index: int) -> Attention:
        block = self.model.backbone.pretrained.blocks[index]
        assert isinstance(block, Block)
        return block.attn

    def _single_view(self, batch: Batch) -> Result:
        out = self.model(batch.images)
        with _exactly(batch):
            return self._single_view_loss(batch, {key: value.float() for key, value in out.items()})

    def _single_view_loss(self, batch: Batch, out: dict[str, Tensor]) -> Result:
        metric = self.config.task == "metric"
        valid = batch.valid & batch.metric[:, None, None, None] if metric else batch.valid
        total, terms = single_view_loss(
            out,
            batch.depth,
            valid,
            batch.sky,
            batch.sky_known,
            batch.alpha,
            batch.intrinsics,
            self.config.single_view_loss,
            metric=metric,
        )
        return Result(total, terms, out["depth"].detach())


def _exactly(batch: Batch) -> torch.autocast:
    """Within it products are computed in single precision: what the truth is compared with must not be rounded."""
    return torch.autocast(batch.images.device.type, enabled=False)


def check_matching_block(model: Trainable, config: MatchingConfig) -> None:
    """Raise ValueError when the block is not one that attends across views."""
    preset = model.preset
    across = [i for i in range(preset.depth) if i >= preset.alternate_from and i % 2 == 1]
    if config.block not in across:
        raise ValueError(f"matching.block is {config.block}; the cross-view blocks of {preset.name} are {across}")


def pose_errors(code: Tensor, scene: Scene) -> dict[str, Tensor]:
    """Mean rotation error, the same for the guess that nothing turned, and error of the direction of translation,
    in degrees, of camera codes (B, S, 9) against the true poses of views after the first."""
    true = scene.pose[:, 1:]
    rotation = matrix_from_quaternion(code[:, 1:, 3:7])
    error = rotation_angle(rotation.transpose(-1, -2) @ true[..., :3, :3])
    cosine = torch.nn.functional.cosine_similarity(code[:, 1:, :3], true[..., :3, 3], dim=-1)
    return {
        "rotation_deg": error.rad2deg().mean(),
        "identity_rotation_deg": rotation_angle(true[..., :3, :3]).rad2deg().mean(),
        "direction_deg": cosine.clamp(-1, 1).arccos().rad2deg().mean(),
    }
