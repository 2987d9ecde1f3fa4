# SPDX-License-Identifier: Apache-2.0
"""What is brought to a rented machine beside the project's tree, in one folder or in several goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKS, PHOTOS, HELDOUT, START = "packs", "photos", "heldout", "start"
"""Folders below that of the cargo: packs of scenes, shards to train on, shards to score on, pieces of weights."""


@dataclass(frozen=True)
class Cargo:
    """Folders that were brought; None for what was not."""

    packs: Path | None
    photos: Path | None
    heldout: Path | None
    start: Path | None

    @classmethod
    def find(cls, folder: Path) -> Cargo:
        """What lies in `folder`. Raises FileNotFoundError where there is nothing to train on."""
        parts = {name: folder / name for name in (PACKS, PHOTOS, HELDOUT, START)}
        found = {name: path if path.is_dir() and any(path.iterdir()) else None for name, path in parts.items()}
        cargo = cls(**found)
        if cargo.packs is None and cargo.photos is None:
            raise FileNotFoundError(
                f"{folder} has neither {PACKS}/ (`da3-train pack-scenes`) nor {PHOTOS}/ (`da3-train shards`): "
                "there is nothing to train on"
            )
        return cargo

    def lines(self) -> list[str]:
        """What is there, what is not, and what that means."""
        means = {
            PACKS: "no rooms are rendered",
            PHOTOS: "no photographs are trained on",
            HELDOUT: "nothing is scored",
            START: "training begins as the configuration says",
        }
        out = []
        for name, meaning in means.items():
            path: Path | None = getattr(self, name)
            if path is None:
                out.append(f"{name}: not brought, so {meaning}")
            else:
                size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
                out.append(f"{name}: {size / 1e6:.1f} MB")
        return out
