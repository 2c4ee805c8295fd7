"""Models of spaces that only this process can build: a user's own code runs nowhere else."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from latprof.common.own_code.calling import called
from latprof.errors import LatprofError, UnsupportedModelError

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace

#: Models of one space that are kept for their next visit, in bytes. Visits go round all networks,
#: so the first ones are kept: of those visited last none would be left when it is needed.
_MOST_BYTES = 1 << 28
#: By the space's id, for as long as it lives: a dataclass has no hash.
_kept: dict[int, dict[tuple[str, int], bytes]] = {}


def finished_model(space: SearchSpace, key: str, batch_size: int) -> bytes:
    """The ONNX model of an architecture, in serialised form.

    Raises UnsupportedModelError for whatever the space's code raises, which is its cause.
    """
    if id(space) not in _kept:
        _kept[id(space)] = {}
        weakref.finalize(space, _kept.pop, id(space), None)
    kept = _kept[id(space)]
    found = kept.get((key, batch_size))
    if found is None:
        try:
            with called(f"building {key} of {space.name}"):
                found = space.onnx_bytes(space.parse(key), batch_size=batch_size)
        except LatprofError as error:
            raise UnsupportedModelError(f"{space.name} cannot build {key}: {error}") from error
        if sum(map(len, kept.values())) + len(found) <= _MOST_BYTES:
            kept[key, batch_size] = found
    return found
