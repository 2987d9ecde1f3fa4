# SPDX-License-Identifier: Apache-2.0
"""`da3-train` with the small test networks among the presets, for tests that need processes of their own."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(folder) for folder in (ROOT, ROOT / "training", ROOT / "test" / "helpers")]

from micro import MICROS

from da3_ros.network import PRESETS
from da3_training.cli import main

PRESETS.update({preset.name: preset for preset in MICROS})

if __name__ == "__main__":
    main()
