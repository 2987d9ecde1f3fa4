# SPDX-License-Identifier: Apache-2.0
"""Metres that were asked for by name and did not come: no success, however well the rest went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from da3_ros.bag.plan.outputs import full_name
from da3_ros.bag.plan.plan import Plan

_TOPICS = ("scale.points_topic", "scale.depth_topic")


def unmet_scale(plan: Plan, sets: Sequence[dict[str, Any]]) -> list[str]:
    """Problems of a run whose sets have these records."""
    source = plan.parameters.estimator.scale.source
    if not sets or source == "none":
        return []
    message = sets[-1]["scale"]["message"]
    if source != "auto":
        if any(each["scale"]["metric"] for each in sets):
            return []
        return [f"scale.source is {source}, and not one set is in metres: {message}"]
    named = [name for name in _TOPICS if name in plan.values and full_name(str(plan.values[name])) in plan.references]
    if not named or any(each["scale"]["source"] == "reference" for each in sets):
        return []
    reason = f": {message}" if message else ""
    return [f"{' and '.join(named)} gave not one set its scale{reason}"]
