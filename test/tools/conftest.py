# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

from pretended_gpu import driver, machine  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))  # programs, not a package
