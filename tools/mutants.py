# SPDX-License-Identifier: Apache-2.0
"""Put one fault after another into the package and see whether a test notices.

    make mutants                                         some of every folder, half an hour
    make mutants ARGS="stream node --each 200"           more of two of them
    make mutants ARGS="da3_ros/sync/mailbox.py --each 0"  all of one file
    make mutants ARGS="--survivors"                      those that survived, once more
    make mutants ARGS="--lot 2"                          others than those that tests were written for
    make mutants ARGS="--table"                          what is known

Works on copies of the checkout. Which mutants are taken looks drawn by lot and is the same each time; what is known of
a file that has not changed since is kept in `build/mutants/`, so that a later run goes on where this one ends. A mutant
that changes nothing anyone could see is listed in `tools/mutation/equivalent.yaml`, with the reason.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mutation.course import Worker, course, witnesses
from mutation.results import Book, Mutant, Verdict, equivalents, mutants_of, state, survivors, table
from mutation.rooms import ROOMS, ROOT, Room

OUT = ROOT / "build" / "mutants"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, whatever survives: the table is read by people."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "places", nargs="*", help=f"folders or files of da3_ros; all of {', '.join(r.name for r in ROOMS)}"
    )
    parser.add_argument("--each", type=int, default=60, help="mutants a folder; 0: all (%(default)s)")
    parser.add_argument("--lot", type=int, default=1, help="which of them: another number, others (%(default)s)")
    parser.add_argument("--minutes", type=float, default=30.0, help="then it ends (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="side by side (%(default)s)")
    parser.add_argument("--survivors", action="store_true", help="try again those that survived")
    parser.add_argument("--table", action="store_true", help="try nothing; print what is known")
    parser.add_argument("--out", type=Path, default=OUT, help="where verdicts are kept (build/mutants)")
    options = parser.parse_args(arguments)
    book = Book(options.out / "verdicts.jsonl")
    chosen = {place: _chosen(place, options.places, options.each, options.lot) for place in ROOMS}
    if not any(chosen.values()):
        parser.error(f"{' '.join(options.places)}: none of it is in {', '.join(r.name for r in ROOMS)}")
    if not options.table:
        _try(chosen, book, options)
    excused = equivalents()
    pairs = [(m, v) for mutants in chosen.values() for m in mutants if (v := book.holds(m))]
    print(f"\n{survivors(pairs, excused)}\n\n{table(pairs, excused)}")
    for place, mutants in chosen.items():
        known = [(m, v) for m in mutants if (v := book.holds(m))]
        if known:
            print(_line(place, mutants, known, excused))
    return 0


def _chosen(place: Room, wanted: Sequence[str], each: int, lot: int) -> list[Mutant]:
    """The first mutants of a room by lot, or those of the files that are asked for."""
    names = [name.strip("/").removeprefix("da3_ros/") for name in wanted]
    if names and not any(name == place.name or name.startswith(f"{place.name}/") for name in names):
        return []
    mutants = sorted(mutants_of(place), key=lambda m: m.rank(lot))
    if names and place.name not in names:
        mutants = [m for m in mutants if m.path.removeprefix("da3_ros/") in names]
    return mutants[:each] if each else mutants


def _try(chosen: dict[Room, list[Mutant]], book: Book, options: argparse.Namespace) -> None:
    until = time.monotonic() + 60 * options.minutes
    excused = equivalents()
    open_ones = {
        place: [m for m in mutants if _is_open(m, book, excused, options)] for place, mutants in chosen.items()
    }
    with tempfile.TemporaryDirectory(prefix="da3_mutants_") as scratch:
        workers = [Worker(Path(scratch) / f"copy{index}") for index in range(options.processes)]
        try:
            for place, mutants in open_ones.items():
                if mutants and time.monotonic() < until:
                    print(f"{place.name}: which tests run which line ...", flush=True)
                    known = witnesses(place, workers[0].copy, Path(scratch) / "witnesses.json")
                    for worker in workers[1:]:
                        worker.copy.take_compiled(workers[0].copy)
                    print(f"{place.name}: {len(known.seconds)} tests, {len(mutants)} mutants", flush=True)
                    course(mutants, known, workers, book, until=until, report=_say)
        finally:
            for worker in workers:
                worker.close()


def _is_open(mutant: Mutant, book: Book, excused: dict[tuple[str, str, str], str], options: argparse.Namespace) -> bool:
    verdict = book.verdicts.get(mutant.key) if options.survivors else book.holds(mutant)
    if options.survivors:
        return verdict is not None and state(mutant, verdict, excused) == "survived"
    return verdict is None


def _say(mutant: Mutant, verdict: Verdict) -> None:
    print(
        f"{verdict.outcome:8} {verdict.seconds:5.1f} s  {mutant.path}:{mutant.mutation.line}  {mutant.now[:90]}",
        flush=True,
    )


def _line(
    place: Room,
    mutants: Sequence[Mutant],
    known: Sequence[tuple[Mutant, Verdict]],
    excused: dict[tuple[str, str, str], str],
) -> str:
    states = [state(m, v, excused) for m, v in known]
    killed, equivalent = states.count("killed"), states.count("equivalent")
    real = len(states) - equivalent
    return (
        f"{place.name}: {killed} of {real} killed ({100 * killed / max(real, 1):.0f} %), {equivalent} equivalent; "
        f"{len(known)} of {len(mutants)} chosen tried, of {len(mutants_of(place))}"
    )


if __name__ == "__main__":
    sys.exit(main())
