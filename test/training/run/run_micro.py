# SPDX-License-Identifier: Apache-2.0
"""`da3-train` with the small test networks among the presets, for tests that need processes of their own."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[i]) for i in (2, 3)] + [
    str(Path(__file__).resolve().parents[3] / "training")
]

from micro import MICROS  # noqa: E402

from da3_ros.network import PRESETS  # noqa: E402
from da3_training.cli import main  # noqa: E402

PRESETS.update({preset.name: preset for preset in MICROS})

if __name__ == "__main__":
    main()
