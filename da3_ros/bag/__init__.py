# SPDX-License-Identifier: Apache-2.0
"""Recorded bags through the same estimator as live cameras.

Wings from the ground up, each of which imports only those before it: `errors`, `motion` (where cameras were),
`sources` (recordings that are no bags), `io` (bags on disk), `plan` (what is to be done), `report` (what became of it,
as a page), `scene` (clouds and models beside the output), `line` (sets through the estimator), `run` (one bag, start to
end), `fleet` (many bags). To understand a run, begin with `run/reprocess.py`.
"""
