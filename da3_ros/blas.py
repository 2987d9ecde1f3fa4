# SPDX-License-Identifier: Apache-2.0
"""How NumPy multiplies matrices in a process whose cores an engine needs."""

from __future__ import annotations

import os

VARIABLE = "OPENBLAS_NUM_THREADS"


def one_thread() -> None:
    """Have OpenBLAS multiply in the thread that asks, unless the environment says otherwise.

    Its own threads spin while they wait for the next product: beside an engine, poses of small systems then take twice
    the processor time, and the engine's threads wait for theirs. Only before NumPy is first imported does it count: the
    packages of the command and of the node call it as they are imported.
    """
    os.environ.setdefault(VARIABLE, "1")
