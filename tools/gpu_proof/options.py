# SPDX-License-Identifier: Apache-2.0
"""What is asked of a run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

DRIVER = "libcuda.so.1"
"""As `da3_ros.engines.guard.DRIVER`, which is not imported for it: options are read before anything else."""


@dataclass(frozen=True)
class Options:
    """Given to every part; travels to its process as JSON."""

    device: str = "cuda"
    """Where the network runs: ``cuda``, or ``cpu`` in a rehearsal."""
    driver: str = DRIVER
    """Library of the CUDA driver, a name or a path."""
    quick: bool = False
    """A tiny network at a small size in place of the published shapes."""
    models: str = str(ROOT / "models")
    """Folder in which da3-nano's weights and graphs may lie."""

    @property
    def rehearsal(self) -> bool:
        """Whether this run proves nothing of a GPU, however it ends."""
        return self.device != "cuda" or self.driver != DRIVER

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        """From a command line."""
        return cls(**json.loads(text))
