# SPDX-License-Identifier: Apache-2.0
"""Many bags on a cluster, one task a bag.

Read `inputs` (which recordings), `task` (one bag, wherever it lies), then `fleet` (tasks on Ray; what they say of
themselves is on a `board`), then `report` (the page and the table of all).
"""
