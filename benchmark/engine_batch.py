# SPDX-License-Identifier: Apache-2.0
"""Several view sets in one call of the engine against one call for each, in turns, in one process:
``da3 export da3-nano -o FOLDER --scenes``, then ``python benchmark/engine_batch.py FOLDER``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from da3_ros.engines import load_engine
from da3_ros.engines.scenes import Scene, check_scenes, run_scenes


def main() -> int:
    """Print milliseconds a set both ways, their ratio, and the largest difference of depth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the graphs")
    parser.add_argument("--views", type=int, default=3, help="images of a set")
    parser.add_argument("--size", type=int, nargs=2, default=(196, 252), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, nargs="+", default=[2, 4], help="sets in one call")
    parser.add_argument("--sets", type=int, default=24, help="for each way and batch")
    parser.add_argument("--threads", type=int, default=0, help="of the engine; 0: every core")
    arguments = parser.parse_args()
    engine = load_engine(arguments.folder, arguments.threads)
    rng = np.random.default_rng(0)
    shape = (arguments.views, *arguments.size, 3)
    scenes = [Scene(rng.integers(0, 256, shape, dtype=np.uint8)) for _ in range(max(arguments.batch))]
    print(f"{engine.info.backend}, {engine.info.model}, sets of {' x '.join(map(str, shape[:3]))}")
    for count in arguments.batch:
        check_scenes(engine.info, count, arguments.views)
        chosen, together, alone = scenes[:count], [], []
        expected = [run_scenes(engine, [scene])[0] for scene in chosen]
        found = run_scenes(engine, chosen)
        for _ in range(max(1, arguments.sets // count)):
            begin = time.perf_counter()
            run_scenes(engine, chosen)
            middle = time.perf_counter()
            for scene in chosen:
                run_scenes(engine, [scene])
            together.append((middle - begin) / count)
            alone.append((time.perf_counter() - middle) / count)
        off = max(float(np.abs(a.depth / b.depth - 1).max()) for a, b in zip(found, expected, strict=True))
        ours, theirs = 1e3 * np.median(together), 1e3 * np.median(alone)
        print(
            f"{count} at once {ours:.0f} ms a set, one by one {theirs:.0f} ms: rate x {theirs / ours:.3f}, "
            f"depth within {off:.1e}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
