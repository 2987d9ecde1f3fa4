# SPDX-License-Identifier: Apache-2.0
"""`make test` runs some folders in two processes, each folder in one, for its fixtures are dear."""

import os
import re
import subprocess
import sys
from pathlib import Path

from needs import needs

needs("xdist")

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("test/geometry", "test/sync")


def test_a_folder_stays_in_one_process():
    options = re.search(r"--numprocesses 2 --dist \w+", (ROOT / "Makefile").read_text())[0].split()
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *options, *FOLDERS, "-k", "not search"]
    # It may run in one of such processes itself.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    workers = {folder: set(re.findall(rf"\[(gw\d)\].*PASSED {folder}/", done.stdout)) for folder in FOLDERS}
    assert all(len(found) == 1 for found in workers.values()), workers
    assert len(set.union(*workers.values())) == 2, workers
