# SPDX-License-Identifier: Apache-2.0
"""When pictures were taken, as far as their names tell (recorders name them after their stamps), and which of many to
take.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from da3_ros.bag.sources.source import START_NS

_DECIMAL = re.compile(r"(?:.*[^0-9])?([0-9]{9,10})[._]([0-9]{3,9})")
"""Seconds since 1970, a point, and what follows: ``1305031102.175304``."""
_WHOLE = {19: 1, 16: 1_000, 13: 1_000_000}
"""Digits of nanoseconds, microseconds and milliseconds since 1970, and nanoseconds of one."""
_NUMBER = re.compile(r"(\d+)(?!.*\d)")
_EARLIEST_S, _LATEST_S = 946_684_800, 4_102_444_800
"""2000 and 2100: other numbers of as many digits are no times."""


def stamps_of_names(names: Sequence[str]) -> list[int] | None:
    """Nanoseconds since 1970 that the names of files (without suffix) are; None where not all of them are times."""
    found = [_stamp(name) for name in names]
    stamps = [stamp for stamp in found if stamp is not None]
    if not names or len(stamps) < len(names) or len(set(stamps)) < len(names):
        return None
    return stamps


def _stamp(name: str) -> int | None:
    if match := _DECIMAL.fullmatch(name):
        seconds, rest = match.groups()
        stamp = int(seconds) * 1_000_000_000 + int(rest.ljust(9, "0"))
    else:
        digits = re.findall(r"\d+", name)
        if not digits or len(digits[-1]) not in _WHOLE:
            return None
        stamp = int(digits[-1]) * _WHOLE[len(digits[-1])]
    return stamp if _EARLIEST_S <= stamp // 1_000_000_000 < _LATEST_S else None


def counted(fps: float, number: int) -> int:
    """Stamp (ns) of picture `number` where only their rate is known."""
    return START_NS + round(number * 1e9 / fps)


def last_number(path: Path) -> int | None:
    """The last number in a file's name: 3 of ``left03.jpg``; None where there is none."""
    match = _NUMBER.search(path.stem)
    return int(match.group(1)) if match else None


def taken_at(times: Sequence[float], fps: float) -> list[int]:
    """Numbers of the pictures, of rising times in seconds, that come nearest to each of `fps` moments a second."""
    period = 1.0 / fps
    taken, due = [], times[0]
    last = 2 * times[-1] - times[-2] if len(times) > 1 else times[0] + period
    for number, (now, following) in enumerate(pairwise([*times, last])):
        if due - now <= 0.5 * (following - now):
            taken.append(number)
            # After a gap one is due soon, and not many at once.
            due = max(due + period, now + 0.8 * period)
    return taken
