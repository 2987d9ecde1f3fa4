# SPDX-License-Identifier: Apache-2.0
"""The record of a run: one JSON line a step, curves and pictures in TensorBoard, broken samples by name."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from da3_ros.network.model import IMAGE_MEAN, IMAGE_STD
from da3_training.samples import Batch
from da3_training.tasks import Result

log = logging.getLogger(__name__)
BROKEN = "broken.txt"


class Monitor:
    """Writes into `output`; None for the processes that do not."""

    def __init__(self, output: Path | None, start: int, picture_steps: int) -> None:
        self._output, self._picture_steps = output, picture_steps
        self._broken = 0
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            self._file = (output / "log.jsonl").open("a")
            self._board = SummaryWriter(str(output / "tensorboard"), purge_step=start)
            self._bar = tqdm(initial=start, unit="step", mininterval=10, disable=None)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._output is not None:
            self._file.close()
            self._board.close()
            self._bar.close()
            if self._broken:
                log.warning("%d broken samples were skipped: %s", self._broken, self._output / BROKEN)

    def write(
        self, step: int, loss: float, norm: float, rate: float, seconds: float, batch: Batch, result: Result
    ) -> None:
        """Record one step; `loss` is the mean over all processes, the terms are this process's own."""
        if self._output is None:
            return
        shape = list(batch.images.shape)
        entry = {"step": step, "loss": loss, "norm": norm, "rate": rate, **result.terms}
        images_per_second = shape[0] * shape[1] / max(seconds, 1e-6)
        entry.update(views=shape[:2], size=shape[3:], posed=batch.posed, seconds=round(seconds, 4))
        entry["images_per_second"] = round(images_per_second, 2)
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        for name, value in {"loss": loss, "norm": norm, "rate": rate, **result.terms}.items():
            self._board.add_scalar(f"train/{name}", value, step)
        self._board.add_scalar("speed/images_per_second", images_per_second, step)
        if batch.broken:
            self._broken += len(batch.broken)
            with (self._output / BROKEN).open("a") as file:
                file.writelines(f"{step}\t{line}\n" for line in batch.broken)
            self._board.add_scalar("data/broken", self._broken, step)
        if self._picture_steps and step % self._picture_steps == 0:
            self._board.add_image("views", panel(batch, result.depth), step, dataformats="HWC")
        self._bar.update()
        self._bar.set_postfix_str(f"loss {loss:.3f}, {images_per_second:.1f} images/s", refresh=False)


def panel(batch: Batch, depth: torch.Tensor) -> NDArray[np.uint8]:
    """Views of the first scene, one a column: image, predicted depth, true depth, in one colour scale of log depth.

    depth: (B, S, H, W), scaled to the true median for the picture.
    """
    columns = []
    truth = batch.depth[0].cpu().numpy()
    valid = batch.valid[0].cpu().numpy()
    ours = depth[0].float().cpu().numpy()
    if valid.any():
        ours = ours * np.median(truth[valid]) / max(np.median(ours[valid]), 1e-9)
        low, high = np.log(np.percentile(truth[valid], [2, 98]).clip(1e-6))
    else:
        low, high = 0.0, 1.0
    for i, image in enumerate(batch.images[0].cpu().numpy()):
        rgb = image.transpose(1, 2, 0) * np.float32(IMAGE_STD) + np.float32(IMAGE_MEAN)
        rows = [(rgb.clip(0, 1) * 255).astype(np.uint8)]
        for values, mask in ((ours[i], np.ones_like(valid[i])), (truth[i], valid[i])):
            shade = (np.log(values.clip(1e-6)) - low) / max(high - low, 1e-3)
            colour = cv2.applyColorMap((shade.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
            rows.append(np.where(mask[..., None], colour[..., ::-1], 0).astype(np.uint8))
        columns.append(np.concatenate(rows))
    return np.concatenate(columns, axis=1)
