# SPDX-License-Identifier: Apache-2.0
"""The viewer of a node that has one; nothing of it is loaded by one that has none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.parameters import NodeParameters

if TYPE_CHECKING:
    from da3_ros.viewer.live import LiveViewer


def viewer_of(parameters: NodeParameters, health: Health, logger: Any) -> LiveViewer | None:
    """The viewer that the parameters ask for, which says in the diagnostics what is wrong with it; None: none."""
    if parameters.viewer.mode == "none":
        return None
    from da3_ros.viewer.live import LASTING, LiveViewer

    def report(kind: str, text: str) -> None:
        if text:
            health.report("", kind, text, WARN, keep_s=math.inf if kind == LASTING else 0.0)
        else:
            health.resolve("", kind)

    return LiveViewer(parameters, report, logger.info)
