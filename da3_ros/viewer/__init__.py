# SPDX-License-Identifier: Apache-2.0
"""What goes in and comes out, shown in Rerun (rerun.io) while it happens, or from a recording.

Read `archetypes` (arrays as what Rerun draws, and the names of its entities), `roles` (what each topic shows), `frames`
(transforms, and the frame that the world is shown in), `paths`, `sink` (messages, one after the other: its heart),
`layout` (where things stand on the screen), `places` (a viewer that is started, connected to, served, or a file),
`errors`; and for the live node `pace` (which sets are shown), `slots` (the short queue) and `live` (the thread, and one
more subscriber of each output). The SDK is imported when something is shown, and by nothing else.
"""

from da3_ros.viewer.errors import ViewerError, require_rerun
from da3_ros.viewer.places import open_stream
from da3_ros.viewer.roles import Role, roles_of
from da3_ros.viewer.sink import Viewer

__all__ = ["Role", "Viewer", "ViewerError", "open_stream", "require_rerun", "roles_of"]
