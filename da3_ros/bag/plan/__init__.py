# SPDX-License-Identifier: Apache-2.0
"""What is to be done with a bag, decided before it begins, and what is kept of what was done.

Read `options` (what is asked for), `plan` (what follows), `sources` (what is left to a recording that is no bag),
`given` (what files add to a bag), `pictures` (every topic that carries some), `wrapped` (those inside of other types),
`samples` (the first messages of a topic), `calibrations` (of which picture each is), `choice` (which pictures are
cameras), `topics` (cameras found in a recording), `references` (metric depth of others), `trees` (whose transforms are
whose), `places` (where they contradict each other), `params_file` (the node's parameters), `outputs` (topics of the
output); then `records` (what is noted of each set), `outcome` (where a run leaves its word, and what it lost) and
`unmet` (metres that were asked for and did not come).
"""
