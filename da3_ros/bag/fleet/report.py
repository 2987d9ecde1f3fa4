# SPDX-License-Identifier: Apache-2.0
"""What became of a fleet: a table for the terminal, JSON for programs, one HTML file for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from da3_ros.bag.fleet.fleet import Status
from da3_ros.bag.fleet.task import Result
from da3_ros.bag.io import places
from da3_ros.bag.plan.topics import table
from da3_ros.bag.report.elements import facts, html_table, page, section
from da3_ros.bag.report.provenance import versions

STATUS, SUMMARY, PAGE = "fleet_status.json", "fleet.json", "fleet.html"


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How many bags ended how: ``done``, ``lossy``, ``failed``."""
    found = Counter(result.state for result in results)
    return {state: found[state] for state in ("done", "lossy", "failed")}


def status_json(statuses: Sequence[Status]) -> str:
    """State of every bag, to be written while the fleet runs."""
    rows = [{key: value for key, value in asdict(status).items() if key != "result"} for status in statuses]
    return json.dumps({"bags": rows, "states": Counter(status.state for status in statuses)}, indent=1)


def results_table(results: Sequence[Result]) -> str:
    """One line a bag."""
    rows = [("bag", "state", "sets", "used", "dropped", "time", "attempts", "machine", "")]
    for result in results:
        dropped = ", ".join(f"{count} {cause}" for cause, count in sorted(result.dropped.items())) or "0"
        wrong = result.notes[0] if result.state == "lossy" and result.notes else ""
        remark = result.error or wrong or ("finished before" if result.before else "went on" if result.resumed else "")
        rows.append(
            (
                result.name,
                result.state,
                str(result.sets),
                f"{result.used} of {result.received}",
                dropped,
                f"{result.seconds:.1f} s",
                str(result.attempts),
                result.host,
                remark,
            )
        )
    return table(rows)


def write_summary(results: Sequence[Result], folder: str, seconds: float, options: Mapping[str, Any]) -> str:
    """Write `fleet.json` and `fleet.html` into the folder of the outputs; returns the place of the page."""
    content = {
        "states": counts(results),
        "seconds": seconds,
        "options": dict(options),
        "versions": versions(),
        "bags": [asdict(result) for result in results],
    }
    places.write_text(places.join(folder, SUMMARY), json.dumps(content, indent=1, default=str))
    target = places.join(folder, PAGE)
    places.write_text(target, _html(results, folder, seconds, content))
    return target


def _html(results: Sequence[Result], folder: str, seconds: float, content: Mapping[str, Any]) -> str:
    states = counts(results)
    head = facts(
        [
            (str(len(results)), "bags"),
            (str(states["done"]), "done"),
            (str(states["lossy"]), "with losses"),
            (str(states["failed"]), "failed"),
            (str(sum(result.sets for result in results)), "sets"),
            (f"{seconds:.0f} s", "of work"),
        ]
    )
    rows = [
        _row(result, folder) for result in sorted(results, key=lambda r: ("failed", "lossy", "done").index(r.state))
    ]
    header = ["bag", "state", "sets", "used", "received", "dropped", "seconds", "attempts", "machine", "remark"]
    origin = [(f"option: {name}", json.dumps(value, default=str)) for name, value in content["options"].items()]
    origin += [(f"version: {name}", value) for name, value in content["versions"].items()]
    body = [
        head,
        section("Bags", html_table(header, rows, numbers={2, 3, 4, 6, 7})),
        section("Provenance", html_table(["", ""], [[escape(n), f"<code>{escape(v)}</code>"] for n, v in origin])),
    ]
    return page("da3 fleet", "\n".join(body))


def _row(result: Result, folder: str) -> list[str]:
    link = result.report.removeprefix(places.join(folder, "")) if result.report else ""
    name = f'<a href="{escape(link)}">{escape(result.name)}</a>' if link else escape(result.name)
    mark = {"failed": "bad", "lossy": "bad"}.get(result.state, "good")
    dropped = ", ".join(f"{count} {cause}" for cause, count in sorted(result.dropped.items()))
    remark = result.error or "; ".join(result.notes) or ("finished before" if result.before else "")
    return [
        name,
        f'<span class="{mark}">{result.state}</span>',
        str(result.sets),
        str(result.used),
        str(result.received),
        escape(dropped),
        f"{result.seconds:.1f}",
        str(result.attempts),
        escape(result.host),
        escape(remark),
    ]
