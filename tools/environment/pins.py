# SPDX-License-Identifier: Apache-2.0
"""`requirements.txt`: what is installed, and where which lines are left out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Requirements:
    """`requirements.txt`, taken apart: lines outside and inside its `[ros]` section, `#:` lines."""

    common: tuple[str, ...]
    ros: tuple[str, ...]
    special: Mapping[str, tuple[str, ...]]

    @classmethod
    def parse(cls, text: str) -> Requirements:
        common: list[str] = []
        ros: list[str] = []
        special: dict[str, list[str]] = {}
        target = common
        for line in (raw.strip() for raw in text.splitlines()):
            if line.startswith("#:"):
                kind, requirement = line[2:].strip().split(maxsplit=1)
                # Two or more blanks end the requirement and begin a remark.
                special.setdefault(kind, []).append(requirement.split("  ")[0].strip())
            elif line.startswith("# [ros]"):
                target = ros
            elif line and not line.startswith("#"):
                target.append(line)
        return cls(tuple(common), tuple(ros), {kind: tuple(lines) for kind, lines in special.items()})

    def lines(self, *, with_ros: bool, numpy1: bool, with_cmake: bool) -> list[str]:
        """The lines to hand to pip."""
        lines = [*self.common, *(self.ros if with_ros else ())]
        if numpy1:
            replaced = {_name(line) for line in self.special.get("numpy1", ())}
            keep_old = sys.version_info < (3, 11)  # pandas of Python 3.10 still takes NumPy 1
            replaced -= {"pandas"} if keep_old else set()
            lines = [line for line in lines if _name(line) not in replaced]
            lines += self.special.get("numpy1", ())
        if with_cmake:
            lines += self.special.get("cmake", ())
        return lines


def _name(requirement: str) -> str:
    return requirement.split("==", maxsplit=1)[0].strip().lower()
