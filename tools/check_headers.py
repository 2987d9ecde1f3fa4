# SPDX-License-Identifier: Apache-2.0
"""Every source file names its licence in its first lines; prints those that don't and ends with 1."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LINE = "SPDX-License-Identifier: Apache-2.0"
SUFFIXES = {".py", ".sh", ".cmake"}
NAMES = {"Makefile", "CMakeLists.txt"}


def missing(paths: list[Path]) -> list[Path]:
    """Those of `paths` that are source files without the licence line near the top."""
    sources = [path for path in paths if path.suffix in SUFFIXES or path.name in NAMES]
    # Empty files, such as most __init__.py of tests, hold nothing to license.
    texts = {path: path.read_text(encoding="utf-8") for path in sources if path.is_file()}
    return [path for path, text in texts.items() if text and LINE not in text[:400]]


def main() -> int:
    paths = [Path(argument) for argument in sys.argv[1:]]
    if not paths:
        listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
        paths = [Path(line) for line in listed.stdout.splitlines()]
    without = missing(paths)
    for path in without:
        print(f"{path}: add `# {LINE}` as the first line")
    return 1 if without else 0


if __name__ == "__main__":
    sys.exit(main())
