#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Put together what goes to a rented machine beside the tree: `training/rented_gpu/run.sh` takes it from there.

    .venv/bin/python tools/rented_cargo.py cargo --packs packs --photos photos --heldout heldout --start models/da3-nano

packs: of `da3-train pack-scenes`; photos, heldout: of `da3-train shards`; start: a checkpoint, which becomes pieces of
half precision. The wheels that a bare machine lacks come from the package index, in the versions of requirements.txt.
Prints what it weighs, and how it fits into goes of 64 MiB.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from environment.folder import TOOLS
from environment.machine import ROOT, SetupError
from environment.pins import Requirements

WHEELS = ("moderngl", "glcontext", "array-api-compat", "safetensors")
"""What training needs and a machine with PyTorch and Lightning lacks."""
PLATFORMS = ("manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 17, 5)))
GO = 64 * 2**20
"""Bytes that travel at a time."""
LEFT_OUT = ("models/", "docs/", "test/data/")
"""Of the tree: folders that training needs nothing of; pictures as well."""


def tree_files() -> list[Path]:
    """Files of the checkout that go along, tracked or new, relative to it: no weights, pictures or documentation."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    names = [name for name in listed if name and not name.startswith(LEFT_OUT) and not name.endswith(".png")]
    return [Path(name) for name in names if (ROOT / name).is_file()]


def copy_tree(out: Path) -> int:
    """Copy those files into `out`; returns their bytes."""
    size = 0
    for name in tree_files():
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
        size += target.stat().st_size
    return size


def fetch_wheels(out: Path, python: str) -> None:
    """Wheels of WHEELS for Linux x86-64 and this version of Python, such as ``3.12``. Raises SetupError."""
    pins = Requirements.parse((TOOLS / "requirements.txt").read_text()).common
    wanted = [line for line in pins if line.split("==")[0] in WHEELS]
    missing = set(WHEELS) - {line.split("==")[0] for line in wanted}
    if missing:
        raise SetupError(f"requirements.txt has no version of {', '.join(sorted(missing))}")
    options = [option for platform in PLATFORMS for option in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp", *options, "-d", str(out), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(f"pip cannot fetch {', '.join(wanted)} for Python {python}:\n{done.stdout}{done.stderr}")


def cut_start(checkpoint: str, out: Path) -> None:
    """A checkpoint (folder or hub id) as pieces."""
    sys.path[:0] = [str(ROOT / "training"), str(ROOT)]
    from da3_ros.network import load_checkpoint
    from da3_training.run.pieces import write_pieces

    write_pieces(load_checkpoint(checkpoint), out, {"from": Path(checkpoint).name})


def goes(sizes: dict[str, int], limit: int = GO) -> list[list[str]]:
    """Parts by name shared out over as few goes of `limit` bytes as come out of taking the largest first; the tree, the
    part ``tree``, is in each. Raises SetupError for a part that fits into none.
    """
    room = limit - sizes["tree"]
    loads: list[tuple[int, list[str]]] = []
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if name == "tree":
            continue
        if size > room:
            raise SetupError(f"{name} of {size / 1e6:.1f} MB and the tree do not fit into {limit / 1e6:.1f} MB")
        for i, (load, names) in enumerate(loads):
            if load + size <= room:
                loads[i] = (load + size, [*names, name])
                break
        else:
            loads.append((size, [name]))
    return [names for _, names in loads]


def size_of(path: Path) -> int:
    """Bytes of the files of a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    for name in ("packs", "photos", "heldout"):
        parser.add_argument(f"--{name}", type=Path, help="folder")
    parser.add_argument("--debs", type=Path, help="folder with EGL's loader: libegl1, libglvnd0, libopengl0")
    parser.add_argument("--start", help="checkpoint: folder or hub id")
    parser.add_argument("--python", default="3.12", help="version of Python on the rented machine")
    options = parser.parse_args(arguments)
    try:
        if options.out.exists():
            raise SetupError(f"{options.out} exists: remove it, or name another folder")
        for name in ("packs", "photos", "heldout", "debs"):
            folder: Path | None = getattr(options, name)
            if folder is not None:
                if not folder.is_dir():
                    raise SetupError(f"--{name} {folder} is no folder")
                shutil.copytree(folder, options.out / name)
        if options.start:
            cut_start(options.start, options.out / "start")
        fetch_wheels(options.out / "wheels", options.python)
        sizes = {path.name: size_of(path) for path in sorted(options.out.iterdir())}
        sizes["tree"] = sum((ROOT / name).stat().st_size for name in tree_files())
        for name, size in sizes.items():
            print(f"{name:<9}{size / 1e6:6.1f} MB")
        for number, names in enumerate(goes(sizes), 1):
            print(f"go {number}: tree, {', '.join(names)}")
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
