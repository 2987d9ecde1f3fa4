# SPDX-License-Identifier: Apache-2.0
"""A training run: from a configuration to weights.

Read `trainer` (the loop), `feeder` (batches on the device), `tasks` (a step, by kind of network), `networks` (which
can be trained), `initial` and `encoder` (where weights start), `optimiser` (rates and their course), `parallel`
(devices and processes), `compiled` (blocks through torch.compile), `clock` (hours that hold) and `stopwatch` (where a
step's time goes), `memory` (kept, not given back, on a CPU), `interrupts` (an end that is asked for), `checkpoints`
(stop and go on), `pieces` (weights in files small enough to send), `monitor` (what is logged and shown), `dropout`
(features that heads are not shown); then what stands beside a run: `budget` (its cost), `average` (the mean of
several), `pictures` (depth to look at).
"""
