# SPDX-License-Identifier: Apache-2.0
"""The node's parameters as a page: ``python tools/parameter_table.py`` writes docs/parameters.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from da3_ros.stream.specs import SPECS, Spec, camera_specs

PAGE = Path(__file__).resolve().parents[1] / "docs" / "parameters.md"
HEAD = """# Parameters of `multi_cam`

Made from the node's own table by `python tools/parameter_table.py`. Every name can stand in a parameter file
([`config/multi_cam.yaml`](../config/multi_cam.yaml) has them all), on the command line (`-p NAME:=VALUE`), or in the
launch argument `parameters`. *live*: can be set while the node runs (`ros2 param set /da3/multi_cam NAME VALUE`); the
others when it is not configured. A value that makes no sense is refused with what is allowed; an unknown name is named,
with the most similar one.

"""
COLUMNS = "| parameter | default | allowed | live | what |\n|---|---|---|---|---|\n"


def row(spec: Spec) -> str:
    """One line of the table."""
    value = spec.default
    if isinstance(value, list):
        default = "[" + ", ".join(value) + "]"
    elif isinstance(value, bool):
        default = str(value).lower()
    else:
        default = str(value) or '""'
    allowed = spec.allowed.replace("|", "\\|")
    return f"| `{spec.name}` | `{default}` | {allowed} | {'yes' if spec.live else ''} | {spec.description} |\n"


def page() -> str:
    """The whole page."""
    own = "".join(row(spec) for spec in SPECS)
    camera = "".join(row(spec) for spec in camera_specs("<camera>"))
    return f"{HEAD}{COLUMNS}{own}\n## Of each camera\n\n{COLUMNS}{camera}"


if __name__ == "__main__":
    PAGE.write_text(page())
