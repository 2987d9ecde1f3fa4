# SPDX-License-Identifier: Apache-2.0
"""Which folders are mutated, and which tests stand nearest to each: the ones that mirror it, and those of the room
above, where they are what drives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Room:
    """A folder of the package, as `stream` or `bag/line`, and the paths under `test` that may kill its mutants."""

    name: str
    tests: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        """Its source files, relative to the root of the checkout."""
        return sorted(p.relative_to(ROOT) for p in (ROOT / "da3_ros" / self.name).rglob("*.py"))


ROOMS = tuple(
    Room(name, tests)
    for name, tests in (
        ("stream", ("stream", "node", "tools/test_parameter_table.py")),
        ("node", ("node", "system/test_process.py")),
        ("sync", ("sync", "stream")),
        ("estimation/scale", ("estimation",)),
        ("estimation/pose", ("estimation",)),
        ("estimation/refinement", ("estimation/refinement",)),
        ("messages", ("messages",)),
        ("geometry", ("geometry", "network/test_gaussians.py")),
        ("bag/line", ("bag/line",)),
        ("bag/run", ("bag/run",)),
    )
)


def room(name: str) -> Room:
    """The room of that name.

    Raises:
        ValueError: there is none; the names that there are are said.
    """
    for candidate in ROOMS:
        if candidate.name == name.strip("/").removeprefix("da3_ros/"):
            return candidate
    raise ValueError(f"No room {name!r} is mutated; there are {', '.join(r.name for r in ROOMS)}.")
