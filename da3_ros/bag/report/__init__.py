# SPDX-License-Identifier: Apache-2.0
"""What became of every frame, as one HTML page that needs nothing beside it.

Read `report` (the page, with its template `report.html`), `refinement` (its part on refined depth), `elements` (what
pages are made of), `plots` (its diagrams), `pictures` (its images), `provenance` (which versions and files made it).
"""
