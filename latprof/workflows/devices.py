"""What can be measured on this host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latprof.common.short_reprs import ShortRepr


@dataclass(frozen=True, repr=False)
class DeviceResult(ShortRepr):
    """Whether one kind of target can be measured here, and how.

    Parameters
    ----------
    target : str
        The short spelling that :func:`latprof.collect` takes; capitals stand for an address, as N
        in ``"cuda:N:torch"`` for the number of a GPU.
    state : str
        ``"ready"`` or ``"missing"``.
    detail : str
        What is there, or what is not.
    remedy : str
        What to install; empty where nothing has to be.
    dtypes : tuple of str
        Compute dtypes, the default first.
    modes : mapping of str to str
        Words of ``mode``, each with what it does; one that ends in ``=`` takes a whole number.
    """

    target: str
    state: str
    detail: str
    remedy: str
    dtypes: tuple[str, ...]
    modes: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {
            "target": self.target,
            "state": self.state,
            "detail": self.detail,
            "remedy": self.remedy,
            "dtypes": list(self.dtypes),
            "modes": dict(self.modes),
        }


def devices() -> tuple[DeviceResult, ...]:
    """List what can be measured on this host, and what to install for the rest."""
    from latprof.profilers.targets import availabilities, profiler_classes

    classes = profiler_classes()
    return tuple(
        DeviceResult(
            name,
            there.state,
            there.detail,
            there.remedy,
            tuple(classes[name].precisions) if name in classes else (),
            dict(classes[name].modes) if name in classes else {},
        )
        for name, there in availabilities().items()
    )
