# SPDX-License-Identifier: Apache-2.0
"""One bag from input to output, in one process or several, and from where an earlier run stopped.

Read `reprocess` (the whole of it), `journal` (state on disk), `worker` (what a process does), `processes` (several of
them); then, for chunks, `first_pass` (sets seen together) and `long_windows` (chunks brought together).
"""
