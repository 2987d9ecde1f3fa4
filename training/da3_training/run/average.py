# SPDX-License-Identifier: Apache-2.0
"""One network out of several: the mean of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from da3_ros.network import DepthAnything3, load_checkpoint


def average_checkpoints(checkpoints: Sequence[str | Path], shares: Sequence[float] | None = None) -> DepthAnything3:
    """The mean of the weights of checkpoints of one network (model soups, arXiv 2203.05482).

    Good for checkpoints of one run, and of runs that go on from one another; what was trained apart does not fit
    together, and its mean is worse than each. shares: of every checkpoint, default equal. Raises ValueError for
    different networks, and for shares that do not fit.
    """
    shares = [1.0] * len(checkpoints) if shares is None else list(shares)
    if not checkpoints or len(shares) != len(checkpoints) or min(shares) < 0 or sum(shares) <= 0:
        raise ValueError(f"{len(checkpoints)} checkpoints with shares {shares}: give one for each, none negative")
    total = sum(shares)
    first = checkpoints[0]
    mean = load_checkpoint(first)
    state = {key: value * (shares[0] / total) for key, value in mean.state_dict().items()}
    for checkpoint, share in zip(checkpoints[1:], shares[1:], strict=True):
        model = load_checkpoint(checkpoint)
        if model.preset.name != mean.preset.name:
            raise ValueError(f"{checkpoint} is a {model.preset.name}, {first} a {mean.preset.name}: only one kind fits")
        for key, value in model.state_dict().items():
            state[key] += value * (share / total)
    mean.load_state_dict(state)
    return mean
