"""A client's connection to a farm, and what the scheduler knows of its devices."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof._version import __version__
from latprof.errors import UsageError
from latprof.farm.addresses import check_address
from latprof.farm.announcing import FarmDevice
from latprof.farm.farm_keys import find_keys, security_of

if TYPE_CHECKING:
    from distributed import Client

#: How long a scheduler may take to answer, in seconds.
CONNECT_S = 10.0


@dataclass(frozen=True)
class AnnouncedDevice:
    """A device that a worker has announced.

    ``address`` is the worker's, ``version`` its latprof's; ``state`` is what
    :class:`~latprof.farm.device_tasks.DeviceState` says of it.
    """

    device: FarmDevice
    host: str
    address: str
    version: str
    state: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        own = {"host": self.host, "version": self.version}
        return {**self.device.to_dict(), **own, **self.state}


def address_and_keys(farm: str, keys: str | os.PathLike[str] | None) -> tuple[str, Path | None]:
    """The scheduler's address and the folder of the keys for it: none for ``tcp://``."""
    folder = find_keys(keys)
    address = check_address(farm, folder)
    return address, folder if address.startswith("tls:") else None


def connected(
    address: str,
    keys: Path | None,
    *,
    asynchronous: bool = False,
    timeout_s: float = CONNECT_S,
) -> Client:
    """A connection to the scheduler at an address; raises OSError where none is let in.

    One that is lost stays lost. dask's own would come back under its old name, and be forgotten
    when the scheduler notices that the old one is gone.
    """
    from distributed import Client

    class Connection(Client):  # type: ignore[misc]
        async def _reconnect(self) -> None:
            for state in self.futures.values():
                state.cancel()

    return Connection(
        address,
        security=security_of(keys),
        timeout=timeout_s,
        asynchronous=asynchronous,
        set_as_default=False,
    )


def check_version(there: object) -> None:
    """Raise UsageError for a scheduler of another version of latprof."""
    if there != __version__:
        raise UsageError(
            "the farm runs another version of latprof",
            expected=str(there),
            got=__version__,
            hint="install the same version on all hosts of the farm",
        )


@contextlib.contextmanager
def with_latprof() -> Iterator[None]:
    """Raise UsageError where a scheduler does not know what it is asked."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        raise UsageError(
            "the scheduler there has no latprof, or another version",
            expected=__version__,
            got=f"{type(error).__name__}: {error}"[:200],
            hint="start it with latprof farm start, of the same version on all hosts",
        ) from None


def announced(identity: Mapping[str, Any]) -> list[AnnouncedDevice]:
    """The devices in what a scheduler says of itself, of latprof's workers."""
    found = []
    for address, worker in identity["workers"].items():
        own = worker.get("latprof")
        if not isinstance(own, Mapping):
            continue
        states = worker.get("metrics", {}).get("latprof") or {}
        host, version = str(own.get("host", "")), str(own.get("version", ""))
        for values in own.get("devices", ()):
            with contextlib.suppress(KeyError, TypeError, ValueError):  # of another version
                device = FarmDevice.from_dict(values)
                state = states.get(device.name) or {"state": "idle", "made": 0, "failed": 0}
                found.append(AnnouncedDevice(device, host, address, version, dict(state)))
    return sorted(found, key=lambda each: each.device.name)
