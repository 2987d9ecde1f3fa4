# SPDX-License-Identifier: Apache-2.0
"""The outcome as JSON and as a page that `docs/performance.md` can take over."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpu_proof.checks import FAILED, GAVE_UP, MISSING, PASSED, Check
from gpu_proof.course import Result
from gpu_proof.figures import FIGURES
from gpu_proof.numerics import TOLERANCES
from gpu_proof.options import Options

JSON, PAGE = "gpu_check.json", "gpu_check.md"
ALL_PASSED, SOMETHING_FAILED, NOTHING_PROVED = 0, 1, 2
"""Exit codes."""


@dataclass(frozen=True)
class Verdict:
    """What the whole run comes to."""

    code: int
    words: str
    left_out: tuple[str, ...]
    """Parts that were not asked for."""
    seconds: float

    @classmethod
    def of(
        cls, results: Sequence[Result], options: Options, no_gpu: str, left_out: Sequence[str], seconds: float
    ) -> Verdict:
        """no_gpu: why there is no GPU, empty where there is one."""
        code, words = NOTHING_PROVED, f"no GPU: nothing was proved ({no_gpu})"
        if not no_gpu:
            failed = [result.part.name for result in results if result.state == FAILED]
            proved = [
                check for r in results if r.part.proves for check in r.checks if check.state == PASSED
            ]  # fmt: skip
            lacking = sum(check.state == MISSING for result in results for check in result.checks)
            if failed:
                code, words = SOMETHING_FAILED, f"FAILED: {', '.join(failed)}"
            elif not proved:
                words = "nothing was proved: all that could have been lacks something"
            elif options.rehearsal:
                words = "the rehearsal went well; it was no GPU, so nothing was proved"
            else:
                code, words = ALL_PASSED, f"{len(proved)} checks passed on this GPU"
            words += f"; {lacking} lack something, see above" if lacking else ""
            words += f"; not asked for: {', '.join(left_out)}" if left_out else ""
        return cls(code, f"{words} (exit code {code}, {seconds:.0f} s)", tuple(left_out), round(seconds, 1))


def as_dict(results: Sequence[Result], options: Options, verdict: Verdict) -> dict[str, Any]:
    """Everything, with plain types."""
    return {
        "verdict": asdict(verdict),
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "options": {**asdict(options), "rehearsal": options.rehearsal},
        "tolerances": {name: asdict(value) for name, value in TOLERANCES.items()},
        "parts": [result.as_dict() for result in results],
        "beside": [asdict(figure) for figure in FIGURES],
    }


def write(folder: Path, results: Sequence[Result], options: Options, verdict: Verdict) -> None:
    """gpu_check.json and gpu_check.md in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(_plain(as_dict(results, options, verdict)), indent=2, allow_nan=False)
    (folder / JSON).write_text(content + "\n")
    (folder / PAGE).write_text(markdown(results, options, verdict))


def _plain(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown(results: Sequence[Result], options: Options, verdict: Verdict) -> str:
    """The page."""
    lines = ["# On a GPU", "", f"**{verdict.words}**", ""]
    if options.rehearsal:
        lines += [f"A rehearsal: device `{options.device}`, driver `{options.driver}`. It proves nothing of a GPU.", ""]
    for result in results:
        lines += [*_part(result), ""]
    lines += ["## Beside it: what others say, on other hardware", ""]
    lines += [_row("what", "hardware", "", "source"), "|---|---|---|---|"]
    lines += [_row(figure.what, figure.hardware, figure.value, figure.source) for figure in FIGURES]
    return "\n".join(lines) + "\n"


def _part(result: Result) -> Iterator[str]:
    yield f"## {result.part.name.capitalize()}: {result.state}"
    yield ""
    if result.message:
        yield f"{_cell(result.message)}"
        yield ""
    timed = [check for check in result.checks if "arithmetic" in check.values and "ms" in check.values]
    if timed:
        yield _row("network", "views", "size", "arithmetic", "ms", "images/s", "peak MB", "largest error", "mean", "")
        yield "|" + "---|" * 10
        yield from (_timed(check) for check in timed)
        yield ""
    others = [check for check in result.checks if check not in timed]
    if others:
        yield _row("check", "", "")
        yield "|---|---|---|"
        yield from (_row(check.name, _state(check), check.message) for check in others)


def _timed(check: Check) -> str:
    v = check.values
    notes = ["cameras known"] if v["posed"] else []
    notes += [f"reference {v['reference']}"] if v["reference"] != "first" else []
    notes += ["beside the GPU's own float32"] if "GPU" in v["beside"] else []
    notes += ["" if v["weights"] == "seeded" else f"weights {v['weights']}"]
    if check.state != PASSED:
        notes.append(f"{_state(check)}: {check.message}")
    memory = "" if v.get("peak_mb") is None else f"{v['peak_mb']:.0f}"
    cells = [v["preset"], str(v["views"]), v["size"], v["arithmetic"], f"{v['ms']:.2f}", f"{v['images_per_s']:.1f}"]
    cells += [memory, f"{v['largest']:.1e}", f"{v['mean']:.1e}", "; ".join(note for note in notes if note)]
    return _row(*cells)


def _state(check: Check) -> str:
    return f"**{check.state.upper()}**" if check.state in (FAILED, GAVE_UP) else check.state


def _row(*cells: str) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
