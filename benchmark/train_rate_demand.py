# SPDX-License-Identifier: Apache-2.0
"""The parts of `train_rate` that eat images: looks and exposure, the step of the network; time, arithmetic, bytes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from train_rate_sums import Timing

from da3_ros.network import create_model
from da3_training.config import TrainConfig
from da3_training.data.batch import Batch, RawScene, collate
from da3_training.data.develop import develop
from da3_training.data.samples import Draw, draw
from da3_training.data.view_sampling import image_sizes
from da3_training.run.initial import initialise
from da3_training.run.networks import trainable
from da3_training.run.optimiser import MovingAverage, make_optimiser, step_if_finite
from da3_training.run.tasks import Learner


class Traffic(TorchDispatchMode):
    """Bytes that operators read and write: every operator reads its inputs once and writes its outputs once, views cost
    nothing, and what caches keep between operators is not taken off.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and count."""
        out = func(*args, **(kwargs or {}))
        if not func.is_view and not func.__name__.startswith("empty"):
            read, written = ([t for t in tree_leaves(x) if isinstance(t, Tensor)] for x in ((args, kwargs), out))
            places = {t.untyped_storage().data_ptr() for t in read}
            alias = not func._schema.is_mutable and all(t.untyped_storage().data_ptr() in places for t in written)
            if not (written and alias):
                self.bytes += sum(map(_bytes, read)) + sum(map(_bytes, written))
        return out


def _bytes(tensor: Tensor) -> int:
    """Of the elements that are there: those of a dimension that is only repeated count once."""
    count = 1
    for side, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= side if stride else min(side, 1)
    return count * tensor.element_size()


@dataclass(frozen=True)
class Cost:
    """Of an image."""

    time: Timing
    bytes: float
    flops: float = 0.0


def cost_of_looks(kept: Sequence[tuple[Draw, list[RawScene]]], passes: int) -> Cost:
    """`develop` of the scenes of each step, as a batch of its own."""
    batches = [collate(scenes, drawn.posed) for drawn, scenes in kept]
    images = sum(raw.depth.shape[0] * raw.depth.shape[1] for raw in batches)
    times = []
    for _ in range(passes + 1):
        begun = time.thread_time()
        for raw in batches:
            develop(raw)
        times.append(1000 * (time.thread_time() - begun) / images)
    with Traffic() as traffic:
        for raw in batches:
            develop(raw)
    return Cost(Timing.of(times[1:]), traffic.bytes / images)


@dataclass(frozen=True)
class StepCost:
    """Of the network's step."""

    image: Cost
    """Forward and backward, of an image."""
    optimiser: Timing
    """Clipping, optimiser and moving average, ms a step whatever its images."""
    parameters: int
    trained: int


def cost_of_step(config: TrainConfig, steps: int, passes: int) -> StepCost:
    """The network of a configuration, with random weights, on made-up images.

    Arithmetic and bytes are those of every size with every number of views, weighted as they are drawn, cameras not
    given; time is that of `steps` steps as they are drawn, with few scenes each.
    """
    learner = _learner(config)
    samples, seed = config.stages[-1].samples, config.runtime.seed
    flops = moved = weights = 0.0
    for (size, views), weight in _weights(config).items():
        batch = made_batch(1, views, *size)
        # Attention as two products, which the counter knows on every device.
        with Traffic() as traffic, FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            learner(batch).loss.backward()
        flops += weight * counter.get_total_flops() / views
        moved += weight * traffic.bytes / views
        weights += weight
    times = []
    for number in range(passes + 1):
        begun, images = time.thread_time(), 0
        for step in range(number * steps, (number + 1) * steps):
            drawn = draw(samples, seed, step)
            scenes = max(1, 6 // drawn.views)
            learner(made_batch(scenes, drawn.views, drawn.height, drawn.width)).loss.backward()
            images += scenes * drawn.views
        times.append(1000 * (time.thread_time() - begun) / images)
    image = Cost(Timing.of(times[1:]), moved / weights, flops / weights)
    count, trained = (
        sum(p.numel() for p in learner.parameters() if p.requires_grad or not only) for only in (False, True)
    )
    return StepCost(image, _optimiser(learner, config, passes), count, trained)


def _learner(config: TrainConfig) -> Learner:
    torch.manual_seed(0)
    config = replace(config, encoder="none")
    model = trainable(create_model(config.preset))
    initialise(model, config)
    learner = Learner(model, config)
    learner.train()
    return learner


def _weights(config: TrainConfig) -> Counter[tuple[tuple[int, int], int]]:
    samples = config.stages[-1].samples
    sizes = image_sizes(samples.base) if samples.base else samples.sizes
    counts = samples.view_counts
    if len(counts) == 2 and counts[0] < counts[1]:
        counts = tuple(range(counts[0], counts[1] + 1))
    return Counter(((h, w), views) for h, w in sizes for views in counts)


def _optimiser(learner: Learner, config: TrainConfig, passes: int) -> Timing:
    """Gradients are there from before."""
    optimiser = make_optimiser(learner, learner.model.preset.depth, config.optimiser)
    average = MovingAverage(learner, config.optimiser.ema)
    times = []
    for number in range(passes + 1):
        begun = time.thread_time()
        norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), config.optimiser.clip)
        step_if_finite(optimiser, norm)
        average.update(number)
        times.append(1000 * (time.thread_time() - begun))
    return Timing.of(times[1:])


def made_batch(scenes: int, views: int, height: int, width: int) -> Batch:
    """Noise for images, slanted walls for depth, cameras side by side."""
    random = torch.Generator().manual_seed(0)
    shape = (scenes, views, height, width)
    pose = torch.eye(4).repeat(scenes, views, 1, 1)
    pose[..., 0, 3] = 0.1 * torch.arange(views)
    k = torch.tensor([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1.0]])
    yes = torch.ones(shape, dtype=torch.bool)
    return Batch(
        torch.randn(scenes, views, 3, height, width, generator=random),
        torch.linspace(1, 4, width).expand(shape).contiguous(),
        yes,
        ~yes,
        yes,
        yes,
        k.repeat(scenes, views, 1, 1),
        pose,
        torch.ones(scenes, dtype=torch.bool),
        posed=False,
    )
