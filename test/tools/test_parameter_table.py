# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def test_the_page_is_the_nodes_table(monkeypatch):
    pytest.importorskip("rclpy")
    monkeypatch.setattr(sys, "path", [str(TOOLS), *sys.path])
    from parameter_table import PAGE, page

    assert page() == PAGE.read_text(), "run python tools/parameter_table.py"
    assert "| `max_range` | `50.0` | > min_range | yes | Farther depth becomes +Inf, in metres. |" in page()
    assert "| `model` | `da3-nano` | see `da3 models list` |  | Model of the zoo" in page()
