# SPDX-License-Identifier: Apache-2.0
"""What the user asks for: a recording, an output, parameters, and how it is to be done."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.io.writer import Format
from da3_ros.bag.sources import Reading

DEFAULT_OUTPUTS = ("*", "!/da3/*/points", "!/da3/*/depth/image_color", "!/da3/odometry")
"""Clouds of single cameras and pictures for people are large, and made from depth at any time; following the motion
takes longer than a small network where several cameras see the same."""


@dataclass(frozen=True)
class Options:
    """How a bag is reprocessed. Raises BagError for a value that makes no sense."""

    outputs: tuple[str, ...] = DEFAULT_OUTPUTS
    """Patterns of topics to write; a leading ``!`` takes out. Without a leading slash they lie below ``/da3``."""
    copy: tuple[str, ...] = ()
    """Patterns of topics to copy; transforms are always copied."""
    segment_sets: int = 250
    """Sets in one file of a split output: what a killed run loses at most."""
    form: Format = field(default_factory=Format)
    processes: int = 1
    warm_up: int = 5
    """With several processes: sets estimated before each segment and thrown away, so that what is learnt from earlier
    sets (a held scale) is there."""
    pictures: int = 12
    """Sets shown in the report."""
    batch: int = 1
    """Sets in one call of the engine, where the model's graphs allow more than one."""
    window_ahead: int = 0
    """Later sets that the network sees together with each one, at least `sync.window_spacing` apart, beside the earlier
    ones of `sync.window`."""
    chunk: int = 0
    """Consecutive sets that the network sees together; 0: each set alone (with `sync.window` of those before it)."""
    overlap: int = 0
    """Sets that a chunk has in common with the one before it."""
    loops: bool = False
    """Whether chunks that see a place again are brought to agree on it."""
    scene: tuple[str, ...] = ()
    """Files to lay beside the output: ``ply``, ``colmap``, ``rerun``."""
    by_recording: bool = False
    """Whether a recording that is no bag decides about chunks: one trajectory and a cloud; see `settled`."""

    def __post_init__(self) -> None:
        least = {"segment_sets": 1, "processes": 1, "warm_up": 0, "pictures": 0, "batch": 1}
        least |= {"window_ahead": 0, "chunk": 0}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise BagError(f"{name} = {getattr(self, name)}; it must be at least {lowest}")
        for name, value in (("overlap", self.overlap), ("loops", self.loops)):
            if value and not self.chunk:
                raise BagError(f"{name} = {value} is of chunks, and chunk = 0: give --chunk N as well, or leave it out")
        if self.chunk and self.outputs == DEFAULT_OUTPUTS:  # the motion comes with the chunks
            object.__setattr__(self, "outputs", tuple(p for p in self.outputs if p != "!/da3/odometry"))


@dataclass(frozen=True)
class Request:
    """What the user asked for; can be pickled."""

    source: Path
    output: Path
    params_file: Path | None = None
    assignments: tuple[str, ...] = ()
    """``name:=value``; win over the file."""
    model: str | None = None
    cameras: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    reading: Reading = field(default_factory=Reading)
    """What is added to a source that is no bag."""

    def as_options(self) -> dict[str, Any]:
        """What of it, besides parameters and model, the output depends on: numbers and text."""
        poses = None if self.reading.poses is None else str(self.reading.poses)
        return {**asdict(self.options), "reading": {**asdict(self.reading), "poses": poses}}

    def files(self, recording: Recording) -> list[Path]:
        """What the output is made of: the files of the recording, and those that are given."""
        given = [Path(text.rpartition("=")[2]) for text in self.reading.camera_info]
        given += [] if self.reading.poses is None else [self.reading.poses]
        return list(dict.fromkeys((*recording.files, *given)))

    def open(self) -> Recording:
        """The recording, to be used as a context manager. Raises BagError."""
        return Recording(self.source, self.reading)
