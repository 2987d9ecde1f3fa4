# SPDX-License-Identifier: Apache-2.0
"""What is to be done with a bag, decided before it begins, and what is kept of what was done.

Read `plan` (options, inputs, outputs), `topics` (cameras found in a recording), `params_file` (the node's
parameters); then `records` (what is noted of each set) and `outcome` (where a run leaves its word, and what it lost).
"""
