# SPDX-License-Identifier: Apache-2.0
"""The one exception of this package."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])
Say = Callable[[str], None]
"""Takes a remark on a message that can be used all the same, but not quite as it says."""


def quiet(text: str) -> None:
    """A `Say` that drops the remark."""


class MessageError(ValueError):
    """A message cannot be used: what it holds, what is allowed, and what to do about it.

    `str(error)` reads as one sentence for a person; the parts stay available for diagnostics. Topics are not
    known here: the caller adds them.
    """

    def __init__(self, problem: str, *, remedy: str, allowed: str = "") -> None:
        self.problem = problem
        self.allowed = allowed
        self.remedy = remedy
        expected = f" (allowed: {allowed})" if allowed else ""
        super().__init__(f"{problem}{expected}; {remedy}")


def guarded(what: str) -> Callable[[Function], Function]:
    """Decorator for what reads messages of others: whatever fails inside is a MessageError about `what`.

    Messages hold anything: sizes of 0 or of terabytes, fields of one name, numbers that are none. NumPy, OpenCV and
    struct each have errors of their own for them, and none of these may cost more than the message.
    """

    def wrap(function: Function) -> Function:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return function(*arguments, **options)
            except MessageError:
                raise
            except Exception as error:
                reason = " ".join(str(error).split())[:200]
                raise MessageError(
                    f"{what} that makes no sense ({type(error).__name__}: {reason})",
                    remedy="the message is damaged, or its publisher fills it wrongly: check that one",
                ) from error

        return cast("Function", call)

    return wrap
