# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on disk: ``model.safetensors`` and ``config.json`` in one folder, as upstream publishes them.

Only safetensors are read. Pickled weights can run code when they are opened, and no published file is one.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from da3_ros.atomic import replacing, write_atomically
from da3_ros.hub import HubError, fetch_snapshot, is_hub_id
from da3_ros.network.base import DepthAnything3
from da3_ros.network.model import build_model, create_model
from da3_ros.network.presets import PRESETS, NestedPreset, Preset

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
PREFIX = "model."
OPTIONAL_PARTS = ("gs_head.", "gs_adapter.")
"""Parts of a file that are left out where the preset has no place for them: the Gaussian head."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says which file, what is wrong, and what to do."""


def load_checkpoint(source: str | Path, revision: str | None = None) -> DepthAnything3:
    """Load a network in evaluation mode and float32 from a folder, or from the model hub.

    source: a folder with ``model.safetensors`` and ``config.json``, or the id of a hub repository such as
    ``depth-anything/DA3-SMALL`` (a string that names no folder here). Of a repository only the weights and the
    configuration are fetched, once, into the hub's own cache. revision: branch, tag or commit of a repository.

    Loading is strict: missing, unexpected and mis-shaped keys raise `CheckpointError` with their numbers and some
    names, as do a missing or unknown preset name, an unreadable file, a weight that is not finite, and a machine
    without the package safetensors.
    """
    folder = _folder(source, revision)
    name = _preset_name(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        found = sorted(p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth", ".safetensors"))
        other = f" (found {_some(found)}; pickled weights are not read)" if found else ""
        raise CheckpointError(f"{folder} has no {WEIGHTS}{other}: a checkpoint folder holds {WEIGHTS} and {CONFIG}")
    safetensors = _safetensors()
    try:
        stored = safetensors.torch.load_file(weights)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{weights} cannot be read ({error}): it may be truncated, fetch it again") from error
    stored = {key.removeprefix(PREFIX): value for key, value in stored.items()}
    with torch.device("meta"):  # the largest file has 6.8 GB: no second copy of it for initial weights
        model = create_model(name)
    expected = model.state_dict()
    for part in OPTIONAL_PARTS:
        if not any(key.startswith(part) for key in expected):
            stored = {key: value for key, value in stored.items() if not key.startswith(part)}
    aliases = tied_aliases(model)
    for alias, original in aliases.items():
        if alias not in stored and original in stored:
            stored[alias] = stored[original]
    problems = _differences(expected, stored)
    if problems:
        hint = _hint(_shapes(stored), name)
        raise CheckpointError(f"{weights} does not hold a {name}: " + "; ".join(problems) + hint)
    broken = [key for key, value in stored.items() if not torch.isfinite(value).all()]
    if broken:
        raise CheckpointError(f"{weights} has values that are not finite in {_some(broken)}: fetch or train it again")
    # Own copies, one at a time: what was read may be a view of the file, which can change or vanish.
    own = {key: stored.pop(key).to(torch.float32, copy=True) for key in list(stored) if key not in aliases}
    own.update({alias: own[original] for alias, original in aliases.items()})
    model.load_state_dict(own, assign=True)
    return model.eval()


def save_checkpoint(
    model: DepthAnything3,
    path: str | Path,
    dtype: torch.dtype = torch.float32,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write `model` to folder `path` in the published layout; tied weights are stored once.

    Raises CheckpointError where the package safetensors is missing.
    """
    folder, safetensors = Path(path), _safetensors()
    aliases = tied_aliases(model)
    state = {
        PREFIX + key: value.detach().to(dtype).contiguous()
        for key, value in model.state_dict().items()
        if key not in aliases
    }
    with replacing(folder / WEIGHTS) as temporary:
        safetensors.torch.save_file(state, temporary, metadata={"format": "pt", **(metadata or {})})
    config = json.dumps({"model_name": model.preset.name}, indent=2) + "\n"
    write_atomically(folder / CONFIG, config.encode())


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


def _safetensors() -> ModuleType:
    """The package that reads and writes weights; a network is built, and runs, on a machine that lacks it."""
    try:
        import safetensors.torch
    except ImportError as error:
        raise CheckpointError(
            f"weights are read and written by the package safetensors, which is missing ({error}): "
            "pip install safetensors"
        ) from error
    return safetensors


def _folder(source: str | Path, revision: str | None) -> Path:
    folder = Path(source)
    if folder.is_dir():
        return folder
    if not isinstance(source, str) or not is_hub_id(source):
        raise CheckpointError(
            f"{source} is no folder: give one with {WEIGHTS} and {CONFIG}, or a hub id such as depth-anything/DA3-SMALL"
        )
    try:
        return fetch_snapshot(source, revision)
    except HubError as error:
        raise CheckpointError(str(error)) from error


def _preset_name(folder: Path) -> str:
    config = folder / CONFIG
    if not config.is_file():
        raise CheckpointError(
            f'{folder} has no {CONFIG}: add one with {{"model_name": "<preset>"}}, one of {", ".join(PRESETS)}'
            + _hint(_stored_shapes(folder / WEIGHTS))
        )
    try:
        name = json.loads(config.read_text()).get("model_name")
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise CheckpointError(f"{config} is not a JSON object with a model_name ({error})") from error
    if name not in PRESETS:
        raise CheckpointError(
            f"{config} names the model {name!r}; known: {', '.join(PRESETS)}" + _hint(_stored_shapes(folder / WEIGHTS))
        )
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


def _shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


@cache
def _shapes_of_preset(preset: Preset | NestedPreset) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes by key of a network that is not made, and its aliases."""
    with torch.device("meta"):
        model = build_model(preset)
    return _shapes(model.state_dict()), tied_aliases(model)


def _stored_shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by key of a weights file, without the weights; empty when there is none to read."""
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(weights, framework="pt") as file:
            return {key.removeprefix(PREFIX): tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError):
        return {}


def _hint(stored: dict[str, tuple[int, ...]], named: str = "") -> str:
    """Words that name the presets which the shapes of a file fit, if there are any."""
    fitting = []
    for name, preset in PRESETS.items():
        shapes, aliases = _shapes_of_preset(preset)
        own = {key: shape for key, shape in shapes.items() if key not in aliases}
        rest = {key: shape for key, shape in stored.items() if key not in aliases}
        if not any(key.startswith(OPTIONAL_PARTS) for key in own):
            rest = {key: shape for key, shape in rest.items() if not key.startswith(OPTIONAL_PARTS)}
        if name != named and own == rest:
            fitting.append(name)
    return f". The weights are those of {' or '.join(fitting)}: name it in {CONFIG}" if fitting else ""


def _some(keys: list[str], limit: int = 4) -> str:
    return ", ".join(keys[:limit]) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")
