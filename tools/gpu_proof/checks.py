# SPDX-License-Identifier: Apache-2.0
"""What a part says of each of its checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

PASSED, FAILED, MISSING, GAVE_UP = "passed", "failed", "missing", "gave up"
"""Outcomes of a check, and of a part. Missing: something that it needs is not here; gave up: nobody depends on it."""


class Failure(AssertionError):
    """A check found something wrong; the message says what was seen, and what was allowed."""


class Missing(RuntimeError):
    """Something that a check needs is not on this machine; the message names it."""


class GaveUp(RuntimeError):
    """Something that is tried for its figures alone did not work."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check."""

    name: str
    state: str
    message: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    """What was measured, with plain types."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def demand(condition: bool, message: str) -> None:
    """Raise Failure with `message` unless `condition` holds."""
    if not condition:
        raise Failure(message)


class Journal:
    """Takes down the checks of a part, each as soon as its outcome is known."""

    def __init__(self, tell: Callable[[Check], None]) -> None:
        self._tell = tell

    @contextmanager
    def check(self, name: str) -> Iterator[dict[str, Any]]:
        """One check: whatever is raised inside becomes its outcome, and the next one goes on.

        Yields the dict of its values; a text under ``says`` becomes its message.
        """
        values: dict[str, Any] = {}
        start = time.perf_counter()
        try:
            yield values
            state, message = PASSED, str(values.pop("says", ""))
        except Missing as error:
            state, message = MISSING, str(error)
        except GaveUp as error:
            state, message = GAVE_UP, str(error)
        except Failure as error:
            state, message = FAILED, str(error)
        except Exception as error:
            state, message = FAILED, f"{type(error).__name__}: {error}"
        values.pop("says", None)
        values["seconds"] = round(time.perf_counter() - start, 3)
        self._tell(Check(name, state, message, values))

    def missing(self, names: Iterable[str], reason: str) -> None:
        """The same for several checks that all lack something."""
        for name in names:
            self._tell(Check(name, MISSING, reason))
