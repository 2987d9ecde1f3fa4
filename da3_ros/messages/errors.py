# SPDX-License-Identifier: Apache-2.0
"""The one exception of this package."""

from __future__ import annotations


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
