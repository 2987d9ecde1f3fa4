# SPDX-License-Identifier: Apache-2.0
"""How far exported graphs are from PyTorch, for every preset: ``python benchmark/export_differences.py [PRESET ...]``.

Seeded weights, since the published ones are not at hand; noise and the Motorcycle pair at 168 x 252 as images. Prints a
row for each graph. The largest presets need up to 20 GB and some minutes: name those that fit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "test" / "helpers")]

FIT = ("da3-nano", "da3-small", "da3-base", "da3mono-large")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=FIT, help=f"default: {' '.join(FIT)}")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16", "fp16"])
    arguments = parser.parse_args()

    from skimage.data import stereo_motorcycle
    from upstream import seeded_weights

    from da3_ros.estimation.resize import resize
    from da3_ros.export import export_checkpoint
    from da3_ros.network import create_model, save_checkpoint

    pictures = np.stack([resize(image, 252, 168) for image in stereo_motorcycle()[:2]])
    print(f"{'preset':<16} {'graph':<20} {'largest difference':>18} {'depth, mean':>12} {'scale':>9}")
    for preset in arguments.presets:
        with tempfile.TemporaryDirectory() as temporary:
            model = create_model(preset).eval()
            model.load_state_dict(seeded_weights(model.state_dict(), {}))
            save_checkpoint(model, Path(temporary))
            del model
            begin = time.perf_counter()
            # Seeded weights are no trained ones: what 16 bits cost there is shown, not judged.
            found = export_checkpoint(
                temporary, temporary, arguments.precision, images=pictures, tolerance=10.0, kinds=("unposed",)
            )
        for name, difference in found.items():
            values = f"{difference.largest:18.1e} {difference.depth:12.1e} {difference.scale:+9.1e}"
            print(f"{preset:<16} {name:<20} {values}", flush=True)
        print(f"{preset}: {time.perf_counter() - begin:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
