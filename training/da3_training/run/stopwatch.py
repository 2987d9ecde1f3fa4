# SPDX-License-Identifier: Apache-2.0
"""Where the time of a step goes: wait for data, copies, looks, forward, backward, optimiser; and what holds it up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

PARTS = ("data", "transfer", "look", "forward", "backward", "optimiser")
"""`data` is the wait of the processor; the others are the device's, or the processor's where it is the device."""


class Stopwatch:
    """Times the parts of steps without waiting for the device: its events are read when `steps` is called."""

    def __init__(self, device: torch.device) -> None:
        self._events = device.type == "cuda"
        self._open: list[dict[str, Any]] = []
        self._begun = time.monotonic()

    def step(self) -> None:
        """A new step begins."""
        self._open.append({})

    def drop(self) -> None:
        """The step that was begun does not come about."""
        self._open.pop()

    @contextmanager
    def part(self, name: str, host: bool = False) -> Iterator[None]:
        """Time what is done, or queued on the current stream, within the block; host: by the processor's clock."""
        if self._events and not host:
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            yield
            last.record()
            self._open[-1][name] = (first, last)
        else:
            start = time.monotonic()
            yield
            self._open[-1][name] = time.monotonic() - start

    def steps(self) -> list[dict[str, float]]:
        """Seconds of each part of every step since the last call, and their mean in all, ``seconds``.

        The device must have finished them.
        """
        now = time.monotonic()
        each = (now - self._begun) / max(len(self._open), 1)
        self._begun = now
        read = []
        for parts in self._open:
            times = {
                name: value if isinstance(value, float) else value[0].elapsed_time(value[1]) / 1000
                for name, value in parts.items()
            }
            read.append({**times, "seconds": each})
        self._open.clear()
        return read

    def pause(self) -> None:
        """What happened since the last step (a checkpoint, say) is not part of the next."""
        self._begun = time.monotonic()


def bottleneck(total: dict[str, float], images: int, workers: int, busy: float | None = None) -> str:
    """What held a run up, in words.

    total: seconds by part, and ``seconds`` of all steps; images: seen in them; busy: seconds that the processes of a
    studio worked, all of them together.
    """
    whole = max(total.get("seconds", 0.0), 1e-9)
    share = {name: total.get(name, 0.0) / whole for name in PARTS}
    parts = ", ".join(f"{name} {share[name]:.0%}" for name in PARTS)
    head = f"{images / whole:.1f} images/s; of the time: {parts}."
    device = sum(share[name] for name in PARTS if name != "data")
    network = share["forward"] + share["backward"] + share["optimiser"]
    if share["data"] > max(0.25, network / 2):
        at_work = "" if busy is None else f" although each worked {busy / whole / max(workers, 1):.0%} of the time"
        return (
            f"{head} The network waited for data: {workers} processes made no more{at_work}. More processes, more "
            "steps_per_room, or larger images would help."
        )
    if device < 0.6:
        return (
            f"{head} The device idled {1 - device:.0%} of the time while the processor queued its work: larger "
            "batches, or runtime.compile, would help."
        )
    return f"{head} The network itself is the limit: {network:.0%} of the time."
