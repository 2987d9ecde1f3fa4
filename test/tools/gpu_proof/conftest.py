# SPDX-License-Identifier: Apache-2.0
import gc

import pytest


@pytest.fixture
def outcomes():
    """Function: what a part says of each check, by name, in this process."""
    from gpu_proof.checks import Journal

    def run(part, options):
        said = []
        part.prove(options, Journal(said.append))
        assert [check.name for check in said] == part.plan(options), "every check is spoken of, in its order"
        return {check.name: check for check in said}

    # A part collects garbage before it counts bytes, among millions of objects of other tests if it is let.
    gc.freeze()
    return run
