# SPDX-License-Identifier: Apache-2.0
"""What the refinement did to the views of a set, in words and numbers for diagnostics and records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from da3_ros.estimation import ViewRefinement


def mismatch(refinement: ViewRefinement | None) -> str:
    """What is to be done about a view that is not refined as its pose cannot be right; empty: nothing. Other reasons
    are normal: little was seen.
    """
    if refinement is None or refinement.applied or not refinement.mismatch:
        return ""
    return f"depth is not refined: {refinement.message}"


def as_numbers(refinement: ViewRefinement) -> dict[str, Any]:
    """Everything but the pictures, for JSON; None for a residual that is not known."""
    return {
        "applied": refinement.applied,
        "message": refinement.message,
        "pixels": dict(refinement.pixels),
        "share": refinement.share,
        "before": None if math.isnan(refinement.before) else refinement.before,
        "after": None if math.isnan(refinement.after) else refinement.after,
    }


def in_words(
    views: Mapping[str, Mapping[str, Any]], *, metric: bool, milliseconds: float
) -> tuple[str, dict[str, str]]:
    """Message and values of a status. views: `as_numbers` of each camera that has any; metric: whether depth has a
    unit; milliseconds: of the refinement of the whole set.
    """
    if not views:
        return ("off" if metric else "depth has no unit: nothing to refine"), {}
    values = {"milliseconds": f"{milliseconds:.1f}"}
    for camera, view in views.items():
        values[f"{camera}_applied"] = str(view["applied"]).lower()
        if view["message"]:
            values[f"{camera}_why"] = view["message"]
        values.update({f"{camera}_{source}": str(count) for source, count in view["pixels"].items()})
        values[f"{camera}_share"] = f"{view['share']:.4f}"
        for name in ("before", "after"):
            if view[name] is not None:
                values[f"{camera}_residual_{name}"] = f"{view[name]:.4f}"
    done = sum(view["applied"] for view in views.values())
    return f"{done} of {len(views)} views refined", values
