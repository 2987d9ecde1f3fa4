# SPDX-License-Identifier: Apache-2.0
"""The scale over time: smoothed, held where a set tells none, and never jumping on the word of one set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container

from da3_ros.estimation.scale.config import ScaleConfig
from da3_ros.estimation.views import ScaleEstimate

Memory = tuple[ScaleEstimate | None, int, list[ScaleEstimate], tuple[ScaleEstimate, int] | None]
"""What a filter remembers: last, when, what waits for confirmation, and what may be held."""


class ScaleFilter:
    """Takes each set's estimate, gives the one to use. Time is that of the images, in nanoseconds."""

    def __init__(self, config: ScaleConfig) -> None:
        self._config = config
        self.last: ScaleEstimate | None = None
        self.last_ns = 0
        self._pending: list[ScaleEstimate] = []
        self._served: tuple[ScaleEstimate, int] | None = None
        """The last metric scale of any source, believed here or not smoothed at all, and when it was told."""

    def reset(self) -> None:
        """Forget everything, for example after a jump in time."""
        self.last, self._pending, self._served = None, [], None

    def memory(self) -> Memory:
        """Everything, for `recall`."""
        return self.last, self.last_ns, list(self._pending), self._served

    def recall(self, memory: Memory) -> None:
        """Go on where `memory` was asked for."""
        self.last, self.last_ns, pending, self._served = memory
        self._pending = list(pending)

    def age_s(self, now_ns: int) -> float:
        """Seconds since the last estimate that was believed; infinite without one."""
        return math.inf if self.last is None else abs(now_ns - self.last_ns) * 1e-9

    def serve(self, estimate: ScaleEstimate, now_ns: int) -> ScaleEstimate:
        """A metric estimate that needs no smoothing -> the same, remembered for `held`."""
        self._served = estimate, now_ns
        return estimate

    def held(self, now_ns: int, why: str, believed: Container[str] | None = None) -> ScaleEstimate | None:
        """The last metric scale, for a set that tells none; None where there is none, or it is too old: `hold` seconds
        count from when the next one was due. believed: sources, of which the last one that was believed here is meant;
        None: the last one of any. why: said in its message.
        """
        if believed is None:
            kept = self._served
        else:
            kept = (self.last, self.last_ns) if self.last is not None and self.last.source in believed else None
        if kept is None:
            return None
        last, told_ns = kept
        seconds = abs(now_ns - told_ns) * 1e-9
        if seconds > self._config.period + self._config.hold:
            return None
        why = why or f"nothing was measured by {last.source}"
        return dataclasses.replace(last, inliers=0, message=f"held for {seconds:.1f} s: {why}")

    def accept(self, estimate: ScaleEstimate, now_ns: int) -> ScaleEstimate:
        """A metric estimate of this set -> the scale to use.

        Within `max_jump` of the last one it is smoothed in. Beyond, the last one is held until `confirm` sets in a row
        agree on the new one, and the message says so; a change of source counts as a jump only if the value jumps.
        """
        config, last = self._config, self.last
        # Not sooner than the next one is due: with a long period every estimate would be the first one.
        if last is None or self.age_s(now_ns) > config.period + max(config.hold, 4 * config.smoothing):
            return self._believe(estimate, now_ns)
        jump = _distance(estimate, last)
        if jump <= config.max_jump:
            return self._believe(self._smoothed(estimate, last, now_ns), now_ns)
        if self._pending and _distance(estimate, self._pending[-1]) > config.max_jump:
            self._pending = []
        self._pending.append(estimate)
        if len(self._pending) >= config.confirm:
            message = f"the scale jumped from {last.value:.4g} to {estimate.value:.4g} metres a unit"
            self._believe(estimate, now_ns)
            return dataclasses.replace(estimate, message=message)
        return dataclasses.replace(
            last,
            message=f"held: this set says {estimate.value:.4g} metres a unit ({estimate.source}), the ones before "
            f"{last.value:.4g}; {config.confirm - len(self._pending)} more like it and it is believed",
        )

    def _believe(self, estimate: ScaleEstimate, now_ns: int) -> ScaleEstimate:
        self.last, self.last_ns, self._pending = estimate, now_ns, []
        return self.serve(estimate, now_ns)

    def _smoothed(self, new: ScaleEstimate, last: ScaleEstimate, now_ns: int) -> ScaleEstimate:
        tau = self._config.smoothing
        if tau == 0:
            return new
        share = 1 - math.exp(-self.age_s(now_ns) / tau)
        # The mean of logarithms: halving and doubling weigh the same.
        value = math.exp(share * math.log(new.value) + (1 - share) * math.log(last.value))
        shift = share * new.shift + (1 - share) * last.shift
        return dataclasses.replace(new, value=value, shift=shift)


def _distance(a: ScaleEstimate, b: ScaleEstimate) -> float:
    """By what share the larger scale exceeds the smaller one; shifts count at the depth of one unit."""
    first, second = a.value + max(a.shift, 0), b.value + max(b.shift, 0)
    return max(first / second, second / first) - 1
