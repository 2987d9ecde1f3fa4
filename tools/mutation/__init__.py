# SPDX-License-Identifier: Apache-2.0
"""One fault after another, put into copies of the package, to see which of them no test notices; `tools/mutants.py`.

Read `operators` (the faults a file can have), `rooms` (which folders, and the tests nearest to each), `witnesses`
(which test runs which line), `copies` (where a file is not what it was), `worker` (a process that tests), `course` (all
of it, side by side), `results` (what became of each; `equivalent.yaml` lists those that change nothing).
"""
