# SPDX-License-Identifier: Apache-2.0
import platform
import subprocess
import sys

CODE = """
import resource, sys
import numpy as np
from da3_ros.node.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(3):  # the first ones also teach glibc
    a, b, c = (np.ones(20 << 20, np.uint8) for _ in range(3))
    del a, b, c
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    a, b, c = (np.ones(20 << 20, np.uint8) for _ in range(3))
    del a, b, c
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


HEAP = """
from pathlib import Path
import numpy as np
from da3_ros.node.memory import give_freed_memory_back, keep_freed_memory
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
keep_freed_memory()
kept = [np.ones(1 << 20, np.uint8) for _ in range(200)]
last = np.ones(1 << 20, np.uint8)  # at the top of the heap
del kept
before = resident()
gave = give_freed_memory_back()
print(gave, before - resident())
"""


def page_faults(mode):
    done = subprocess.run([sys.executable, "-c", CODE, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_freed_memory_is_used_again():
    if platform.libc_ver()[0] != "glibc":
        assert "False" in subprocess.run(
            [sys.executable, "-c", "from da3_ros.node.memory import keep_freed_memory as k; print(k())"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        return
    # 300 MB in pages of 4 kB, or a part of it where the system hands out huge pages.
    assert page_faults("keep") < 0.05 * page_faults("leave")


def test_freed_memory_is_given_back_when_it_is_asked_for():
    done = subprocess.run([sys.executable, "-c", HEAP], capture_output=True, text=True, check=True)
    gave, freed = done.stdout.split()
    if platform.libc_ver()[0] == "glibc":
        assert gave == "True"
        assert int(freed) > 150 << 20
    else:
        assert gave == "False"
