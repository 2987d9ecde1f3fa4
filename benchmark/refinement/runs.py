# SPDX-License-Identifier: Apache-2.0
"""Cases through the estimator twice: with and without refinement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from case import Case
from scoring import Depth, Errors, Within, best_factor, errors, ratio, truth_at, within_one_deviation

from da3_ros.engines import load_engine
from da3_ros.estimation import Estimate, Estimator, EstimatorConfig, ScaleConfig, ViewSet
from da3_ros.estimation.refinement import RefinementConfig
from da3_ros.estimation.refinement.choose import choose_sweeper
from da3_ros.models import find_model


@dataclass(frozen=True)
class ViewResult:
    """One view of a set."""

    before: Errors
    after: Errors
    ratio: float
    """AbsRel after over before; where depth has no unit, with the one scale that is best for the set before."""
    within: Within
    """Of the refined depth."""
    refined: bool
    reason: str
    """Why it was not refined."""
    evidence: dict[str, int]
    """Pixels by source."""
    pixels: int
    """Of its depth."""


@dataclass(frozen=True)
class Result:
    """One set, scored."""

    name: str
    before: Errors
    """Of all its views together, without refinement."""
    after: Errors
    views: tuple[ViewResult, ...]
    milliseconds: float
    """The refinement's own, of the whole set."""
    engine: float
    """Milliseconds of the engine."""
    scale: str
    """Where metres come from without refinement; none where depth has no unit: it then has no errors either."""

    @property
    def off(self) -> bool:
        """Whether no view was refined."""
        return not any(view.refined for view in self.views)

    def of_first_view(self) -> Result:
        """As if the others were there to help only."""
        first = self.views[0]
        return replace(self, before=first.before, after=first.after, views=(first,))


@dataclass(frozen=True)
class Both:
    """The estimates of one case."""

    before: Estimate
    after: Estimate


class Runner:
    """Gives every case to two estimators, each set by itself, without a past."""

    def __init__(self, before: Estimator, after: Estimator) -> None:
        """before: does not refine; after: does. Nothing else may tell them apart."""
        self.before, self.after = before, after

    @classmethod
    def of_model(cls, model: str | Path, size: int = 0, source: str = "auto") -> Runner:
        """On one engine for both; DA3_SWEEP counts. source: the evidence that is used, as in `RefinementConfig`."""
        record, folder = find_model(model)
        engine = load_engine(folder, 0)
        sweeper = choose_sweeper(engine, size or record.recommended_size).sweeper
        return cls(*(Estimator(engine, record, config_of(name, size), sweeper) for name in ("none", source)))

    def estimate(self, case: Case) -> Both:
        """Both estimates; nothing is remembered from earlier cases."""
        found = []
        for estimator in (self.before, self.after):
            estimator.reset()
            found.append(estimator(ViewSet(case.views)))
        return Both(*found)

    def score(self, cases: Iterable[Case], seen: Callable[[Case, Both], None] | None = None) -> list[Result]:
        """Results of cases, one by one. seen: called with each case and its estimates, which are not kept."""
        out = []
        for case in cases:
            both = self.estimate(case)
            out.append(result_of(case, both))
            if seen is not None:
                seen(case, both)
        return out


def config_of(source: str, size: int = 0) -> EstimatorConfig:
    """What is measured here: every set stands for itself."""
    scale = ScaleConfig(smoothing=0.0, confirm=1)
    return EstimatorConfig(size=size, scale=scale, refinement=RefinementConfig(source=source))


def result_of(case: Case, both: Both) -> Result:
    """Scores of one case. Depth is compared at its own size, with the nearest true pixel."""
    truths = [truth_at(t, view.depth.shape) for t, view in zip(case.truth, both.after.views, strict=True)]
    before, after = metric_depths(both.before), metric_depths(both.after)
    compared = comparable_depths(both, truths)
    ratios = [ratio(errors([b], [t]), errors([a], [t])) for b, a, t in zip(*compared, truths, strict=True)]
    views = []
    for view, b, a, truth, times in zip(both.after.views, before, after, truths, ratios, strict=True):
        found = view.refinement
        views.append(
            ViewResult(
                errors([b], [truth]),
                errors([a], [truth]),
                times,
                within_one_deviation(a, view.stddev, truth),
                found is not None and found.applied,
                "no evidence was looked for" if found is None else found.message,
                {} if found is None else dict(found.pixels),
                a.size,
            )
        )
    return Result(
        name=case.name,
        before=errors(before, truths),
        after=errors(after, truths),
        views=tuple(views),
        milliseconds=both.after.timing["refinement"],
        engine=both.after.timing["engine"],
        scale=both.before.scale.source if both.before.scale.metric else "none",
    )


def metric_depths(estimate: Estimate) -> list[Depth]:
    """Depth of each view in metres: nothing but NaN where it has no unit."""
    return [v.depth if estimate.scale.metric else np.full_like(v.depth, np.nan) for v in estimate.views]


def comparable_depths(both: Both, truths: Sequence[Depth]) -> tuple[list[Depth], list[Depth]]:
    """Depth before and after in one unit: where there is none, times the factor that is best for the depth before."""
    depths = [[view.depth for view in estimate.views] for estimate in (both.before, both.after)]
    factor = np.float32(1 if both.before.scale.metric else best_factor(depths[0], truths))
    before = [d * factor for d in depths[0]]
    return before, depths[1] if both.after.scale.metric else [d * factor for d in depths[1]]
