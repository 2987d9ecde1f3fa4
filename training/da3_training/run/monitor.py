# SPDX-License-Identifier: Apache-2.0
"""The record of a run: one JSON line a step, curves and pictures, broken samples by name."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from da3_training.data.batch import Batch
from da3_training.run.pictures import panel
from da3_training.run.stopwatch import PARTS

log = logging.getLogger(__name__)
LOG, BROKEN, PICTURES = "log.jsonl", "broken.txt", "pictures"


@dataclass
class Entry:
    """What is logged of a step. Numbers stay on the device until many of them are read at once."""

    step: int
    rate: float
    numbers: dict[str, Tensor]
    """Loss, norm of the gradient, and the terms of the loss."""
    views: tuple[int, int]
    """Scenes, and views of each."""
    size: tuple[int, int]
    posed: bool
    broken: tuple[str, ...]

    @classmethod
    def of(cls, step: int, rate: float, batch: Batch, **numbers: Tensor) -> Entry:
        """Of a step on `batch`."""
        scenes, views, _, height, width = batch.images.shape
        return cls(step, rate, numbers, (scenes, views), (height, width), batch.posed, batch.broken)


def read_numbers(entries: list[Entry]) -> list[dict[str, float]]:
    """The numbers of all entries, in one copy from the device."""
    tensors = [number.detach().reshape(()).float() for entry in entries for number in entry.numbers.values()]
    values = iter(torch.stack(tensors).tolist() if tensors else [])
    return [{name: next(values) for name in entry.numbers} for entry in entries]


class Monitor:
    """Writes into `output`; None for the processes that do not.

    Curves and pictures go to TensorBoard, too, where it is installed.
    """

    def __init__(self, output: Path | None, start: int) -> None:
        self._output = output
        self._broken = 0
        self._board: Any = None
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            self._file = (output / LOG).open("a")
            self._board = _board(output / "tensorboard", start)
            self._bar = tqdm(initial=start, unit="step", mininterval=10, disable=None)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._output is not None:
            self._file.close()
            if self._board is not None:
                self._board.close()
            self._bar.close()
            if self._broken:
                log.warning("%d broken samples were skipped: %s", self._broken, self._output / BROKEN)

    def write(self, entries: list[Entry], numbers: list[dict[str, float]], times: list[dict[str, float]]) -> None:
        """Record steps, with what `read_numbers` and `Stopwatch.steps` give for them."""
        if self._output is None:
            return
        for entry, values, time in zip(entries, numbers, times, strict=True):
            images = entry.views[0] * entry.views[1]
            seconds = max(time["seconds"], 1e-6)
            line: dict[str, Any] = {"step": entry.step, "rate": entry.rate, **values}
            line.update(views=entry.views, size=entry.size, posed=entry.posed, seconds=round(seconds, 5))
            line["images_per_second"] = round(images / seconds, 2)
            line["times"] = {name: round(time[name], 5) for name in PARTS if name in time}
            self._file.write(json.dumps(line) + "\n")
            if self._board is not None:
                for name, value in {"rate": entry.rate, **values}.items():
                    self._board.add_scalar(f"train/{name}", value, entry.step)
                self._board.add_scalar("speed/images_per_second", images / seconds, entry.step)
            if entry.broken:
                self._broken += len(entry.broken)
                with (self._output / BROKEN).open("a") as file:
                    file.writelines(f"{entry.step}\t{text}\n" for text in entry.broken)
            self._bar.update()
            self._bar.set_postfix_str(f"loss {values['loss']:.3f}, {images / seconds:.1f} images/s", refresh=False)
        self._file.flush()

    def picture(self, step: int, batch: Batch, depth: Tensor) -> None:
        """Show the first scene of a batch with its estimate; waits for the device."""
        if self._output is None:
            return
        shown = first_scene(batch, depth)
        if self._board is not None:
            self._board.add_image("views", shown, step, dataformats="HWC")
        folder = self._output / PICTURES
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"step_{step:09d}.png"), shown[..., ::-1])


def _board(folder: Path, start: int) -> Any:
    """A writer of TensorBoard's files, None without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=start)
    except Exception as error:  # what it is made of fails in many ways where versions do not fit together
        log.info("no TensorBoard (%s): the log has all numbers, %s the pictures", error, folder.parent / PICTURES)
        return None


def first_scene(batch: Batch, depth: torch.Tensor) -> NDArray[np.uint8]:
    """Views of the first scene as `panel` shows them; depth: (B, S, H, W), scaled here to the true median."""
    truth, valid = batch.depth[0].cpu().numpy(), batch.valid[0].cpu().numpy()
    ours = depth[0].float().cpu().numpy()
    if valid.any():
        ours = ours * np.median(truth[valid]) / max(np.median(ours[valid]), 1e-9)
    return panel(batch.images[0].cpu().numpy(), ours, truth, valid)
