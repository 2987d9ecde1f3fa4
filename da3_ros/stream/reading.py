# SPDX-License-Identifier: Apache-2.0
"""Checks single parameter values; a bad one is refused with what it is, what is allowed and what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class ParameterError(ValueError):
    """One or more parameters cannot be used; the message lists each with value, allowed set and remedy."""


class Reader:
    """Reads and checks values; keeps what is wrong until `finish`, so that all of it is said at once."""

    def __init__(self, get: Callable[[str], Any]) -> None:
        self._get = get
        self._problems: list[str] = []

    def finish(self) -> None:
        """Raise ParameterError if anything was refused."""
        if self._problems:
            raise ParameterError("; ".join(self._problems))

    def refuse(self, name: str, value: Any, allowed: str) -> None:
        """Note that `value` cannot be used."""
        self._problems.append(
            f"parameter {name} = {value!r} is refused (allowed: {allowed}): "
            f"set it with -p {name}:=... or in the parameter file"
        )

    def flag(self, name: str) -> bool:
        value = self._get(name)
        if not isinstance(value, bool):
            self.refuse(name, value, "true, false")
        return bool(value)

    def text(self, name: str, *, empty: bool = False, number: bool = False) -> str:
        """number: a whole number will do, as `-p name:=9090` gives it."""
        value = self._get(name)
        if number and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or (not value and not empty):
            self.refuse(name, value, "a text" if empty else "a text that is not empty")
            return "?"
        return value

    def frame(self, name: str, *, empty: bool = False) -> str:
        return self.text(name, empty=empty).lstrip("/")

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        value = self._get(name)
        # `-p left.rectified:=true` arrives as a boolean.
        text = str(value).lower() if isinstance(value, bool) else value
        if text not in allowed:
            self.refuse(name, value, ", ".join(allowed))
            return allowed[0]
        return str(text)

    def number(self, name: str, lowest: float, highest: float = math.inf, *, above: bool = False) -> float:
        value = self._get(name)
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not lowest <= value <= highest or (above and value == lowest):
            self.refuse(name, value, f"a number {'>' if above else '>='} {lowest:g}{_up_to(highest)}")
            return min(lowest + 1, highest)
        return float(value)

    def whole(self, name: str, lowest: int, highest: float = math.inf, *, multiple: int = 1) -> int:
        value = self._get(name)
        good = isinstance(value, int) and not isinstance(value, bool)
        if not good or not lowest <= value <= highest or value % multiple:
            kind = "a whole number" if multiple == 1 else f"a multiple of {multiple}"
            self.refuse(name, value, f"{kind} >= {lowest}{_up_to(highest)}")
            return lowest
        return int(value)

    def names(self, name: str) -> list[str]:
        values = self._get(name)
        good = isinstance(values, (list, tuple)) and len(values) > 0
        if not good or not all(isinstance(v, str) and _NAME.fullmatch(v) for v in values):
            self.refuse(name, values, "one or more names of letters, digits and _, beginning with a letter")
            return []
        if len(set(values)) != len(values):
            self.refuse(name, values, "each name once")
        return list(values)


def _up_to(highest: float) -> str:
    return "" if highest == math.inf else f" and <= {highest:g}"
