# SPDX-License-Identifier: Apache-2.0
"""Part 5: the network by torch.compile, once. Nothing of ours uses it: where it does not work, that is said and all."""

from __future__ import annotations

import time

from gpu_proof.bench import TINY, Bench, Question
from gpu_proof.checks import GaveUp, Journal
from gpu_proof.network import SIZE, TINY_SIZE
from gpu_proof.numerics import errors, judge, worst
from gpu_proof.options import Options

ARITHMETIC = "bfloat16"


def plan(options: Options) -> list[str]:
    """Name of the check."""
    preset, question = _case(options)
    return [f"{preset}, {question.views} views, {ARITHMETIC}, torch.compile"]


def _case(options: Options) -> tuple[str, Question]:
    return (TINY, Question(2, *TINY_SIZE)) if options.quick else ("da3-small", Question(2, *SIZE))


def prove(options: Options, journal: Journal) -> None:
    """Compile, compare, time. It gives up where the compiler does; what it gets wrong is a failure."""
    preset, question = _case(options)
    with journal.check(plan(options)[0]) as found:
        bench = Bench(preset, options)
        expected = bench.expected(question)
        found.update(preset=preset, views=question.views, size=f"{question.height}x{question.width}")
        found["eager_ms"] = bench.time(question, ARITHMETIC)["ms"]
        model = bench.torch.compile(bench.subject)
        try:
            begin = time.perf_counter()
            bench.time(question, ARITHMETIC, model)
            found["compiled_s"] = time.perf_counter() - begin
            found.update(bench.time(question, ARITHMETIC, model))
        except Exception as error:
            first = str(error).strip().splitlines()[:1] or ["no reason given"]
            raise GaveUp(f"torch.compile gave up: {type(error).__name__}: {first[0]}") from error
        bench.subject = model
        found["errors"] = errors(bench.answer(question, ARITHMETIC), expected)
        name, largest, _, _ = worst(found["errors"])
        found["says"] = (
            f"{found['ms']:.2f} ms, {found['eager_ms']:.2f} without, compiled in {found['compiled_s']:.0f} s; "
            f"error {largest:.1e} ({name})"
        )
        judge(found["errors"], ARITHMETIC)
