# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on disk: ``model.safetensors`` and ``config.json`` in one folder, as upstream publishes them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from da3_ros.network.model import DepthAnything3, create_model
from da3_ros.network.presets import PRESETS

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
PREFIX = "model."
UNUSED_PARTS = ("gs_head.", "gs_adapter.")
"""Parts of published files that this network does not have: the Gaussian head."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says which file, what is wrong, and what to do."""


def load_checkpoint(path: str | Path) -> DepthAnything3:
    """Load the network in folder `path`, in evaluation mode and float32.

    Loading is strict: missing, unexpected and mis-shaped keys raise `CheckpointError`, as does a missing or
    unknown preset name, an unreadable file, or a weight that is not finite. Pickle files are never read.
    """
    folder = Path(path)
    name = _preset_name(folder)
    model = create_model(name)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise CheckpointError(f"{folder} has no {WEIGHTS}: a checkpoint folder holds {WEIGHTS} and {CONFIG}")
    try:
        stored = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{weights} cannot be read ({error}): it may be truncated, fetch it again") from error
    stored = {key.removeprefix(PREFIX): value for key, value in stored.items()}
    stored = {key: value for key, value in stored.items() if not key.startswith(UNUSED_PARTS)}
    expected = model.state_dict()
    aliases = tied_aliases(model)
    for alias, original in aliases.items():
        if alias not in stored and original in stored:
            stored[alias] = stored[original]
    problems = _differences(expected, stored)
    if problems:
        raise CheckpointError(f"{weights} does not hold a {name}: " + "; ".join(problems))
    broken = [key for key, value in stored.items() if not torch.isfinite(value).all()]
    if broken:
        raise CheckpointError(f"{weights} has values that are not finite in {_some(broken)}: fetch or train it again")
    model.load_state_dict({key: value.float() for key, value in stored.items()})
    return model.eval()


def save_checkpoint(
    model: DepthAnything3,
    path: str | Path,
    dtype: torch.dtype = torch.float32,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write `model` to folder `path` in the published layout; tied weights are stored once."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    aliases = tied_aliases(model)
    state = {
        PREFIX + key: value.detach().to(dtype).contiguous()
        for key, value in model.state_dict().items()
        if key not in aliases
    }
    save_file(state, folder / WEIGHTS, metadata={"format": "pt", **(metadata or {})})
    (folder / CONFIG).write_text(json.dumps({"model_name": model.preset.name}, indent=2) + "\n")


def tied_aliases(model: torch.nn.Module) -> dict[str, str]:
    """State dict keys that share their tensor with an earlier key, mapped to that key."""
    first: dict[int, str] = {}
    aliases: dict[str, str] = {}
    for key, value in model.named_parameters(remove_duplicate=False):
        if id(value) in first:
            aliases[key] = first[id(value)]
        else:
            first[id(value)] = key
    return aliases


def _preset_name(folder: Path) -> str:
    config = folder / CONFIG
    if not config.is_file():
        raise CheckpointError(
            f'{folder} has no {CONFIG}: add one with {{"model_name": "<preset>"}}, one of {", ".join(PRESETS)}'
        )
    try:
        name = json.loads(config.read_text()).get("model_name")
    except (json.JSONDecodeError, AttributeError) as error:
        raise CheckpointError(f"{config} is not a JSON object with a model_name ({error})") from error
    if name not in PRESETS:
        raise CheckpointError(f"{config} names the model {name!r}; known: {', '.join(PRESETS)}")
    return name


def _differences(expected: dict[str, torch.Tensor], stored: dict[str, torch.Tensor]) -> list[str]:
    missing = [key for key in expected if key not in stored]
    unexpected = [key for key in stored if key not in expected]
    shapes = [
        f"{key} {tuple(stored[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in stored and stored[key].shape != expected[key].shape
    ]
    groups = (("missing", missing), ("unexpected", unexpected), ("mis-shaped", shapes))
    return [f"{len(keys)} {what} ({_some(keys)})" for what, keys in groups if keys]


def _some(keys: list[str], limit: int = 4) -> str:
    return ", ".join(keys[:limit]) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")
