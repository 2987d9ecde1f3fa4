# SPDX-License-Identifier: Apache-2.0
"""What may be given for a text."""

from collections.abc import Iterable
from typing import Union

from launch.substitution import Substitution

# A value, for launch files may use it outside of annotations.
SomeSubstitutionsType = Union[str, Substitution, Iterable[Union[str, Substitution]]]  # noqa: UP007
