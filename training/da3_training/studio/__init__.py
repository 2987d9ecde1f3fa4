# SPDX-License-Identifier: Apache-2.0
"""Rooms without end: rendered while a network trains, handed over in memory, never written to disk.

Read `sources` (the data sets of a run, opened), `lanes` (which room a step sees, and its views), `crew` (processes
that work on one batch together), `slots` (the memory they share).
"""
