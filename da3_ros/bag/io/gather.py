# SPDX-License-Identifier: Apache-2.0
"""The files of a recording, opened: each once. What metadata.yaml says of them is
held against what they hold, which decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.channels import Part
from da3_ros.bag.io.containers import open_file
from da3_ros.bag.io.findings import Findings
from da3_ros.bag.io.folders import METADATA, Members, bags_below
from da3_ros.bag.io.merge import Stretch, overlap, time_order

_SHARED = {"/tf", "/tf_static", "/rosout", "/parameter_events", "/clock", "/diagnostics"}
"""Topics that every recorder records."""


@dataclass
class Gathered:
    """Parts of a recording."""

    parts: list[Part] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    """Log times of each; they are read by these, whatever order they are listed in."""


def gather(path: Path, members: Members, findings: Findings, scratch: Callable[[], Path]) -> Gathered:
    """Open what can be read. Raises BagError where that is nothing."""
    found, names = Gathered(), list[str]()
    for file in (*members.files, *members.others):
        part = open_file(file, findings, scratch)
        if part is None or _is_double(part, file.name, names, found.parts, findings):
            continue
        if file in members.others and not _belongs(part, file.name, found, findings):
            continue
        found.parts.append(part)
        found.stretches.append(Stretch(part.start_ns, part.end_ns))
        names.append(file.name)
    if not found.parts:
        words = [*findings.problems, *(f"{name} is not there" for name in members.missing)]
        raise BagError(f"nothing of {path} can be read: {'; '.join(words)}")
    overlapping = overlap(found.stretches)
    if len(names) > 1:
        in_time = ", ".join(names[number] for number in time_order(found.stretches))
        if not members.listed:
            how = "merged by log time" if overlapping else "read one after the other"
            findings.note(f"{path} has no {METADATA} that lists its {len(names)} files: they are {how}")
            _say_shared(names, found.parts, findings)
        if in_time != ", ".join(names) and not overlapping:
            order = f"that in which {METADATA} lists them" if members.listed else "that of their names"
            findings.note(f"the files are read in the order of their log times, which is {in_time}, not in {order}")
    is_whole = _check_counts(found.parts, members.counts, findings)
    if members.missing:
        text = f"{path / METADATA} lists files that are not there: {', '.join(members.missing)}"
        if is_whole and members.others:
            findings.note(f"{text}; the others hold all messages that it counts, so that these were only renamed")
        else:
            findings.lost(text)
    below = bags_below(path) if path.is_dir() else []
    if below:
        findings.note(f"{path}: what lies in folders below it is not read ({', '.join(below)})")
    return found


def gathered(parts: list[Part]) -> Gathered:
    """Parts that are whole."""
    return Gathered(parts, [Stretch(part.start_ns, part.end_ns) for part in parts])


def _counts(*parts: Part) -> Counter[str]:
    """Messages by topic, of those that have any."""
    counts: Counter[str] = Counter()
    for part in parts:
        for channel in part.channels:
            counts[channel.topic] += channel.count
    return +counts


def _is_double(part: Part, name: str, names: list[str], parts: list[Part], findings: Findings) -> bool:
    """Whether a file holds just what another one holds."""
    counts = _counts(part)
    for other, known in zip(names, parts, strict=True):
        if counts and (part.start_ns, part.end_ns, counts) == (known.start_ns, known.end_ns, _counts(known)):
            findings.note(f"{name} holds what {other} holds: it is not read a second time")
            return True
    return False


def _belongs(part: Part, name: str, found: Gathered, findings: Findings) -> bool:
    """Whether a file that is not listed goes on where the others end, or has topics of its own."""
    shared = sorted(_counts(part).keys() & _counts(*found.parts).keys() - _SHARED)
    text = f"{METADATA} does not list {name}"
    if shared and overlap([*found.stretches, Stretch(part.start_ns, part.end_ns)]):
        reason = f"covers the time of others, with the same topics ({', '.join(shared)})"
        findings.note(f"{text}, which {reason}: it is not read; give it by itself")
        return False
    findings.note(f"{text}, which lies beside the others: it is read, too")
    return True


def _say_shared(names: list[str], parts: list[Part], findings: Findings) -> None:
    """Topics that several recorders recorded at the same time."""
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        for other, known in zip(names[:number], parts, strict=False):
            shared = sorted(_counts(part).keys() & _counts(known).keys() - _SHARED)
            both = [Stretch(part.start_ns, part.end_ns), Stretch(known.start_ns, known.end_ns)]
            if shared and overlap(both):
                text = f"{other} and {name} cover the same time and both have {', '.join(shared)}"
                findings.note(f"{text}: messages may be there twice")


def _check_counts(parts: list[Part], told: Mapping[str, int], findings: Findings) -> bool:
    """Against metadata.yaml; whether it counts messages, and all are there."""
    found = _counts(*parts)
    lacking = [f"{topic} {count} ({found[topic]})" for topic, count in told.items() if count > found[topic]]
    if lacking:
        text = f"{METADATA} counts more messages than the files hold"
        findings.lost(f"{text}: {', '.join(lacking)}; some are lost, or it is wrong")
    more = [topic for topic, count in found.items() if told and count > told.get(topic, 0)]
    if more:
        findings.note(f"the files hold more messages than {METADATA} counts ({', '.join(more)}): all are read")
    return any(told.values()) and not lacking
