# SPDX-License-Identifier: Apache-2.0
"""What follows from the times that `train_rate` measures: images that cores supply, images that a GPU could eat."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from da3_training.config import TrainConfig


@dataclass(frozen=True)
class Timing:
    """Processor time of something in ms: of one core, whatever else the machine did meanwhile."""

    ms: float
    """Median of the passes, each of which is a mean over rooms or images."""
    spread: float
    """Half of the range between the quartiles of the passes over the median; 0 for fewer than four passes."""

    @classmethod
    def of(cls, passes: Sequence[float]) -> Timing:
        """Of the means of passes [ms], at least one."""
        middle = statistics.median(passes)
        if len(passes) < 4 or not middle:
            return cls(middle, 0.0)
        low, _, high = statistics.quantiles(passes, n=4)
        return cls(middle, (high - low) / 2 / middle)

    def over(self, images: float) -> Timing:
        """The share of one of `images` images."""
        return Timing(self.ms / images, self.spread)

    @property
    def per_core(self) -> float:
        """How many of these one core does in a second."""
        return 1000 / self.ms


@dataclass(frozen=True)
class Assumed:
    """What cannot be measured without the GPU."""

    cores: int = 16
    """Of the machine; one of them is the network's own process's."""
    gpu_draw_ms: float = 2.0
    """That a core is held by the GPU's driver, and waits for the GPU, for one drawn view."""
    tflops: float = 400.0
    """Arithmetic that the GPU does at best, in 1e12 operations a second."""
    utilisation: float = 0.35
    """Share of it that training reaches."""
    bandwidth: float = 3.0
    """Memory of the GPU, in 1e12 bytes a second."""
    target: float = 1500.0
    """Images a second that are wanted."""

    def __post_init__(self) -> None:
        if self.cores < 2:
            raise ValueError(f"cores is {self.cores}: give 2 or more, one is the network's own process's")
        if self.gpu_draw_ms < 0:
            raise ValueError(f"gpu-draw-ms is {self.gpu_draw_ms}: give 0 or more")
        for name in ("tflops", "utilisation", "bandwidth", "target"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give more than 0")


@dataclass(frozen=True)
class Supply:
    """Times of one core that rooms take where a GPU draws them."""

    room: Timing
    """Of a room."""
    textures: Timing
    """Of a room: its textures and vertices as bytes for the device."""
    cameras: Timing
    """Of an image: cameras, judging depth, marks and numbers, the copy into shared memory."""
    images_a_room: float
    drawn: float
    """Views that are drawn for each one that is kept."""
    rooms: float = 1.0
    """Rooms that are built for each one that is due: where one has no usable views, others stand in."""

    @property
    def rooms_ms(self) -> float:
        """An image's share of its room."""
        return self.rooms * (self.room.ms + self.textures.ms) / self.images_a_room

    @property
    def processor_ms(self) -> float:
        """Of an image, without what the GPU's driver takes."""
        return self.rooms_ms + self.cameras.ms

    def ms(self, assumed: Assumed) -> float:
        """Of an image, all in."""
        return self.processor_ms + self.drawn * assumed.gpu_draw_ms

    def rate(self, assumed: Assumed) -> float:
        """Images a second of all cores but one."""
        return (assumed.cores - 1) * 1000 / self.ms(assumed)

    def longest_draw_ms(self, assumed: Assumed) -> float:
        """Up to which `gpu_draw_ms` the target holds; below 0 where it does not without any."""
        return ((assumed.cores - 1) * 1000 / assumed.target - self.processor_ms) / self.drawn


@dataclass(frozen=True)
class Demand:
    """What an image costs the GPU, forward and backward."""

    flops: float
    """Multiplications and additions of products and convolutions."""
    step_bytes: float
    """That the operators of the step read and write, in single precision."""
    develop_bytes: float
    """That the operators of looks and exposure read and write."""

    def rate(self, assumed: Assumed, utilisation: float) -> float:
        """Images a second at a share of the GPU's arithmetic."""
        return assumed.tflops * 1e12 * utilisation / self.flops

    def memory_rate(self, assumed: Assumed) -> float:
        """Images a second if memory alone held the GPU up and half precision halved what the step moves."""
        return assumed.bandwidth * 1e12 / (self.step_bytes / 2 + self.develop_bytes)


def images_a_room(config: TrainConfig) -> float:
    """How many images a lane makes of one room, in the mean over the numbers of views of the last stage."""
    samples, studio = config.stages[-1].samples, config.studio
    counts = samples.view_counts
    if len(counts) == 2 and counts[0] < counts[1]:
        counts = tuple(range(counts[0], counts[1] + 1))
    step = statistics.mean(max(1, samples.views_per_batch // n) * n for n in counts)
    return step / studio.lanes * studio.steps_per_room


def verdict(supply: Supply, demand: Demand, assumed: Assumed) -> list[str]:
    """Who waits for whom, whether the target is supplied, by what margin, and what would change it; a line each."""
    rate, eaten = supply.rate(assumed), demand.rate(assumed, assumed.utilisation)
    eaten = min(eaten, demand.memory_rate(assumed))
    margin, longest = rate / assumed.target - 1, supply.longest_draw_ms(assumed)
    waits = (
        f"The network waits for rooms {1 - rate / eaten:.0%} of the time"
        if rate < eaten
        else f"The rooms wait for the network {1 - eaten / rate:.0%} of the time"
    )
    lines = [
        f"{waits}: {assumed.cores - 1} cores supply {rate:.0f} images/s, a GPU of {assumed.tflops:g} TFLOP/s eats "
        f"{eaten:.0f} (arithmetic at {assumed.utilisation:.0%}: {demand.rate(assumed, assumed.utilisation):.0f}; at "
        f"100%: {demand.rate(assumed, 1.0):.0f}; memory at {assumed.bandwidth:g} TB/s: "
        f"{demand.memory_rate(assumed):.0f})."
    ]
    wanted = f"{assumed.target:g} images/s"
    given = f"that the GPU's driver takes for a drawn view; {assumed.gpu_draw_ms:g} ms are assumed."
    if margin >= 0:
        lines.append(f"{wanted} are supplied, with {margin:.0%} to spare: up to {longest:.1f} ms {given}")
    elif longest > 0:
        lines.append(
            f"{wanted} are not supplied, {-margin:.0%} are missing; they would be up to {longest:.1f} ms {given}"
        )
    else:
        lines.append(
            f"{wanted} are not supplied, {-margin:.0%} are missing, whatever the GPU's driver takes: "
            f"the processor's own work is {supply.processor_ms:.1f} ms an image."
        )
    return [*lines, *_changes(supply, assumed)]


def _changes(supply: Supply, assumed: Assumed) -> list[str]:
    longer = replace(supply, images_a_room=2 * supply.images_a_room)
    shorter = replace(supply, images_a_room=supply.images_a_room / 2)
    whole = supply.ms(assumed)
    return [
        f"Of {whole:.2f} ms an image, rooms take {supply.rooms_ms / whole:.0%}, cameras and copies "
        f"{supply.cameras.ms / whole:.0%}, the GPU's driver {1 - supply.processor_ms / whole:.0%} (assumed; "
        f"{supply.drawn:.2f} views are drawn for each that is kept).",
        f"`steps_per_room` doubled, or `lanes` halved, would make it {longer.rate(assumed):.0f} images/s; the other "
        f"way round {shorter.rate(assumed):.0f}.",
    ]
