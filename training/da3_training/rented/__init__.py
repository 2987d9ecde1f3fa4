# SPDX-License-Identifier: Apache-2.0
"""A machine with a GPU for a few minutes: what is there, what fits into the time, and doing it.

Read `cargo` (what was brought), `machine` (what is there), `plan` (what to do, and when), `course` (doing it), `report`
(what came out). `training/rented_gpu/run.sh` begins all of it.
"""
