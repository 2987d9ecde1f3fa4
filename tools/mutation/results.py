# SPDX-License-Identifier: Apache-2.0
"""What became of each mutant: kept from run to run, held against the list of equivalent ones, printed as a table."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import yaml

from mutation.operators import Mutation, mutations
from mutation.rooms import ROOT, Room

EQUIVALENT = Path(__file__).with_name("equivalent.yaml")
KILLED = ("failed", "late", "crashed")


@dataclass(frozen=True)
class Mutant:
    """A mutation of the file at `path` (from the root). `key` names it whatever is written above it."""

    path: str
    mutation: Mutation
    was: str
    now: str
    key: str

    def rank(self, lot: int) -> str:
        """Puts mutants in an order that looks drawn by lot and is the same each time; another one for each `lot`."""
        return hashlib.sha1(f"{lot} {self.key}".encode()).hexdigest()


@dataclass(frozen=True)
class Verdict:
    """What the tests said of a mutant of a file whose text has the digest `file`."""

    key: str
    file: str
    outcome: str
    tests: int
    seconds: float
    by: str = ""
    """The first test that failed."""


def mutants_of(room: Room) -> list[Mutant]:
    """All mutants of a room."""
    return [mutant for path in room.files for mutant in mutants_in(path)]


def mutants_in(path: Path, root: Path = ROOT) -> list[Mutant]:
    """All mutants of a file, given by its path from the root."""
    return list(_mutants_of((root / path).read_text(), path))


@cache
def _mutants_of(source: str, path: Path) -> tuple[Mutant, ...]:
    before = source.splitlines()
    seen: Counter[str] = Counter()
    found = []
    for mutation in mutations(source):
        now = mutation.text.splitlines()[mutation.line - 1].strip()
        was = before[mutation.line - 1].strip()
        name = f"{path}: {mutation.function}: {mutation.kind}: {was} -> {now}"
        seen[name] += 1
        found.append(Mutant(str(path), mutation, was, now, f"{name} #{seen[name]}"))
    return tuple(found)


def digest(path: Path) -> str:
    """Of a file's text."""
    return hashlib.sha1(path.read_bytes()).hexdigest()[:12]


class Book:
    """Verdicts in a file of JSON lines; the last one of a key counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.verdicts = {v.key: v for v in (Verdict(**json.loads(line)) for line in lines)}

    def add(self, verdict: Verdict) -> None:
        self.verdicts[verdict.key] = verdict
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(verdict)) + "\n")

    def holds(self, mutant: Mutant) -> Verdict | None:
        """The verdict on a mutant, if its file is still what it was then."""
        verdict = self.verdicts.get(mutant.key)
        return verdict if verdict and verdict.file == digest(ROOT / mutant.path) else None


def equivalents(path: Path = EQUIVALENT) -> dict[tuple[str, str, str], str]:
    """(path, line, line with the fault) of mutants that change nothing anyone could see, and why."""
    listed = yaml.safe_load(path.read_text()) or {}
    return {(file, entry["was"], entry["now"]): entry["why"] for file, entries in listed.items() for entry in entries}


def table(pairs: Iterable[tuple[Mutant, Verdict]], excused: dict[tuple[str, str, str], str]) -> str:
    """By file: tried, killed, equivalent, survived, share killed of what is not equivalent; then the sum."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for mutant, verdict in pairs:
        for name in (mutant.path, "all"):
            rows[name][state(mutant, verdict, excused)] += 1
    order = sorted(name for name in rows if name != "all") + (["all"] if rows else [])
    lines: list[tuple[str, ...]] = [("file", "tried", "killed", "equivalent", "survived", "share")]
    for name in order:
        count = rows[name]
        real = count["killed"] + count["survived"]
        share = f"{100 * count['killed'] / real:.0f} %" if real else "-"
        numbers = (sum(count.values()), count["killed"], count["equivalent"], count["survived"])
        lines.append((name, *map(str, numbers), share))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def state(mutant: Mutant, verdict: Verdict, excused: dict[tuple[str, str, str], str]) -> str:
    """`killed`, `equivalent` or `survived`."""
    if verdict.outcome in KILLED:
        return "killed"
    return "equivalent" if (mutant.path, mutant.was, mutant.now) in excused else "survived"


def survivors(pairs: Sequence[tuple[Mutant, Verdict]], excused: dict[tuple[str, str, str], str]) -> str:
    """The lines that no test misses, as a diff would show them."""
    lines = []
    for mutant, verdict in sorted(pairs, key=lambda pair: (pair[0].path, pair[0].mutation.line)):
        if state(mutant, verdict, excused) == "survived":
            seen = f"{verdict.tests} tests" if verdict.tests else "no test runs it"
            lines += [f"{mutant.path}:{mutant.mutation.line} ({seen})", f"  - {mutant.was}", f"  + {mutant.now}"]
    return "\n".join(lines)
