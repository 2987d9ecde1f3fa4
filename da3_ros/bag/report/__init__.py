# SPDX-License-Identifier: Apache-2.0
"""What became of every frame, as one HTML page that needs nothing beside it.

Read `report` (the page, with its template `report.html`), `refinement` (its part on refined depth), `scene3d` (what its
3D view shows), `quantise` (its points in few bytes), `viewer` (that view as HTML; `viewer.js` draws it, with three.js
in `three.bundle.js`), `elements` (what pages are made of), `plots` (its diagrams), `pictures` (its images),
`provenance` (which versions and files made it).
"""
