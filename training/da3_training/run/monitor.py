# SPDX-License-Identifier: Apache-2.0
"""The record of a run: one JSON line a step, curves and pictures in TensorBoard, broken samples by name."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from da3_training.data.samples import Batch
from da3_training.run.pictures import panel
from da3_training.run.tasks import Result

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
        entry: dict[str, float | bool | list[int]] = {
            "step": step,
            "loss": loss,
            "norm": norm,
            "rate": rate,
            **result.terms,
        }
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
            self._board.add_image("views", first_scene(batch, result.depth), step, dataformats="HWC")
        self._bar.update()
        self._bar.set_postfix_str(f"loss {loss:.3f}, {images_per_second:.1f} images/s", refresh=False)


def first_scene(batch: Batch, depth: torch.Tensor) -> NDArray[np.uint8]:
    """Views of the first scene as `panel` shows them; depth: (B, S, H, W), scaled here to the true median."""
    truth, valid = batch.depth[0].cpu().numpy(), batch.valid[0].cpu().numpy()
    ours = depth[0].float().cpu().numpy()
    if valid.any():
        ours = ours * np.median(truth[valid]) / max(np.median(ours[valid]), 1e-9)
    return panel(batch.images[0].cpu().numpy(), ours, truth, valid)
