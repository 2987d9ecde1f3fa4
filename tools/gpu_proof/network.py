# SPDX-License-Identifier: Apache-2.0
"""Part 3: the network in PyTorch on the GPU, beside the same network on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpu_proof.bench import OWN, TINY, Bench, Question
from gpu_proof.checks import Journal, Missing
from gpu_proof.numerics import TOLERANCES, errors, judge, worst
from gpu_proof.options import Options

PRESETS = (OWN, "da3-small", "da3-base")
SIZE, TINY_SIZE = (280, 504), (28, 42)
PAPERS = Question(32, 336, 504)
"""The paper's setting for its speeds: 32 images of 504 x 336 in one set."""


@dataclass(frozen=True)
class Case:
    """One check: a network, what it is asked, and in which arithmetic."""

    preset: str
    question: Question
    arithmetic: str
    beside_itself: bool = False
    """Beside the GPU's own float32, where the CPU would take minutes."""

    @property
    def name(self) -> str:
        """For people, and for JSON."""
        q = self.question
        words = [self.preset, f"{q.views} view{'s' if q.views > 1 else ''} of {q.height}x{q.width}", self.arithmetic]
        words += ["cameras known"] if q.posed else []
        words += [f"reference {q.reference}"] if q.reference != "first" else []
        return ", ".join(words)


def cases(options: Options) -> list[Case]:
    """Every check, by network."""
    size = TINY_SIZE if options.quick else SIZE
    out = []
    presets = (TINY,) if options.quick else PRESETS
    for preset in presets:
        for views in (1, 2, 4):
            out += [Case(preset, Question(views, *size), arithmetic) for arithmetic in TOLERANCES]
        out.append(Case(preset, Question(2, *size, posed=True), "float32"))
        # As users run it: the network chooses, and both devices must choose the same view.
        out.append(Case(preset, Question(4, *size, reference="saddle_balanced"), "float32"))
    papers = Question(8, *size) if options.quick else PAPERS
    # The largest last: what a short run does not reach is named.
    for preset in presets[-2:]:
        out += [Case(preset, papers, arithmetic, beside_itself=True) for arithmetic in ("tf32", "bfloat16")]
    return out


def plan(options: Options) -> list[str]:
    """Names of the checks."""
    return [case.name for case in cases(options)]


def prove(options: Options, journal: Journal) -> None:
    """Every case: errors of every output, time, memory."""
    benches: dict[str, Bench | Exception] = {}
    for case in cases(options):
        with journal.check(case.name) as found:
            bench = benches.get(case.preset)
            if bench is None:
                try:
                    # One network at a time: the memory that is told is one's own.
                    benches = {case.preset: Bench(case.preset, options)}
                except Exception as error:
                    benches = {case.preset: error}
                bench = benches[case.preset]
            if isinstance(bench, Exception):
                raise bench
            run(bench, case, options, found)


def run(bench: Bench, case: Case, options: Options, found: dict[str, Any]) -> None:
    """One case; its values go into `found`. Raises Failure where the outputs are wrong, Missing."""
    question = case.question
    if case.beside_itself and bench.device == "cpu" and not options.quick:
        raise Missing("on a CPU it would take minutes")
    found.update(preset=case.preset, weights=bench.weights, views=question.views, arithmetic=case.arithmetic)
    found.update(size=f"{question.height}x{question.width}", posed=question.posed, reference=question.reference)
    found["array_api"] = bench.array_api
    found["beside"] = f"float32 on the {'GPU' if case.beside_itself else 'CPU'}"
    outputs = bench.answer(question, case.arithmetic)
    expected = bench.answer(question, "float32") if case.beside_itself else bench.expected(question)
    found["errors"] = errors(outputs, expected)
    del outputs, expected
    found.update(bench.time(question, case.arithmetic))
    largest_of, largest, mean_of, mean = worst(found["errors"])
    found.update(largest=largest, mean=mean)
    found["says"] = (
        f"{found['ms']:.2f} ms, {found['images_per_s']:.1f} images/s; errors {largest:.1e} ({largest_of}), "
        f"mean {mean:.1e} ({mean_of}); weights {bench.weights}"
    )
    judge(found["errors"], case.arithmetic)
