# SPDX-License-Identifier: Apache-2.0
"""The model zoo: what each model is, under which licence, and where its files lie."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

ZOO = "zoo.yaml"
CHECKPOINT, CONFIG = "model.safetensors", "config.json"
ENVIRONMENT = "DA3_MODELS"
"""Environment variable with further folders of models, separated as in PATH."""


class ModelError(ValueError):
    """A model is not known or not here; the message says what to do."""


@dataclass(frozen=True)
class PoseAccuracy:
    """Median pose error of the network's camera head on held-out scenes."""

    rotation_deg: float = 20.0
    translation_ratio: float = 0.2
    """Of the median scene depth."""

    @property
    def rotation_rad(self) -> float:
        """The rotation error in radians."""
        return math.radians(self.rotation_deg)


@dataclass(frozen=True)
class ModelRecord:
    """One checkpoint of the zoo."""

    name: str
    preset: str
    licence: str
    hub_id: str = ""
    """Repository on the model hub, empty for models that ship with the package."""
    metric: bool = False
    """Whether the network itself predicts metres."""
    focal_rule: float | None = None
    """For networks trained in the space of one camera: its focal length in pixels. Metres are then
    focal length (pixels of the network's image) * output / focal_rule. None where no rule is needed."""
    outputs: tuple[str, ...] = ("depth", "confidence", "rays", "camera")
    recommended_size: int = 504
    """Longest image side it was trained or evaluated at."""
    condition_on_poses: bool = True
    """Whether known cameras improve its depth."""
    condition_on_some_poses: bool = False
    """Whether they do where only some of a scene's cameras are known, which the published networks never saw."""
    pose_accuracy: PoseAccuracy = field(default_factory=PoseAccuracy)
    trusts_distances: bool = True
    """Whether its distances between cameras may give the scale where nothing can be matched."""
    note: str = ""


def model_folders() -> list[Path]:
    """Folders that are searched for models, first match wins."""
    folders = [Path(p) for p in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if p]
    source = Path(__file__).resolve().parent.parent / "models"
    if source.is_dir():
        folders.append(source)
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        installed = Path(prefix) / "share" / "da3_ros" / "models"
        if prefix and installed.is_dir():
            folders.append(installed)
    folders.append(Path.home() / ".cache" / "da3_ros" / "models")
    return folders


def load_zoo() -> dict[str, ModelRecord]:
    """All records, by name. Raises ModelError when no zoo file is found or it has an unknown field."""
    for folder in model_folders():
        if (folder / ZOO).is_file():
            entries = yaml.safe_load((folder / ZOO).read_text())
            return {name: _record(name, values, folder / ZOO) for name, values in entries.items()}
    raise ModelError(
        f"no {ZOO} in {', '.join(str(f) for f in model_folders())}: source the workspace, or set {ENVIRONMENT}"
    )


def find_model(name: str | Path) -> tuple[ModelRecord, Path]:
    """Record and folder of a model given by name, or by the path of a folder with exported graphs.

    A folder of any name has the record of the network that its config.json names: its size, its rule for metres, what
    its poses are worth. Raises ModelError that says what is known, or how to get the files.
    """
    zoo = load_zoo()
    path = Path(name)
    if path.is_dir() and len(path.parts) > 1:
        known = zoo.get(path.name)
        return known or _record_of_folder(path, zoo), path
    if str(name) not in zoo:
        raise ModelError(f"unknown model {str(name)!r}; known: {', '.join(zoo)}; or give a folder with exported graphs")
    record = zoo[str(name)]
    for folder in model_folders():
        if (folder / record.name / "unposed.onnx").is_file():
            return record, folder / record.name
    try:
        checkpoint = find_checkpoint(record.name)
    except ModelError:
        raise ModelError(
            f"{record.name} is not on this machine (licence: {record.licence}): `da3 models pull {record.name}`, then "
            f"`da3 export {record.name}`; or put {CHECKPOINT} and config.json from {record.hub_id or 'elsewhere'} "
            f"into {model_folders()[-1] / record.name}"
        ) from None
    raise ModelError(f"{record.name} has a checkpoint in {checkpoint} but no graphs yet: `da3 export {record.name}`")


def _record_of_folder(folder: Path, zoo: dict[str, ModelRecord]) -> ModelRecord:
    """Record of a folder whose name is not in the zoo, by what its config.json says that it is."""
    config = folder / CONFIG
    own = ModelRecord(folder.name, preset="", licence="see its folder")
    if not config.is_file():
        return own
    try:
        network = zoo.get(json.loads(config.read_text()).get("model_name", ""))
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{config} is not a JSON object ({error}): copy it from the checkpoint again") from error
    return own if network is None else replace(network, name=folder.name, licence=own.licence, hub_id="")


def find_checkpoint(name: str | Path) -> Path:
    """Folder with the checkpoint of a model given by name or by that folder. Raises ModelError that says what to do."""
    if (Path(name) / CHECKPOINT).is_file():
        return Path(name)
    for folder in model_folders():
        if (folder / str(name) / CHECKPOINT).is_file():
            return folder / str(name)
    zoo = load_zoo()
    if str(name) in zoo:
        raise ModelError(f"the checkpoint of {name} is not on this machine: `da3 models pull {name}`")
    raise ModelError(f"{name} is neither a folder with {CHECKPOINT} nor a known model; known: {', '.join(zoo)}")


def _record(name: str, values: dict[str, Any], where: Path) -> ModelRecord:
    values = dict(values)
    if "outputs" in values:
        values["outputs"] = tuple(values["outputs"])
    try:
        if "pose_accuracy" in values:
            values["pose_accuracy"] = PoseAccuracy(**values["pose_accuracy"])
        return ModelRecord(name=name, **values)
    except TypeError as error:
        raise ModelError(f"{where}: entry {name!r}: {error}") from error
