"""Addresses of a farm: with keys anywhere, without them on this computer alone."""

from __future__ import annotations

import ipaddress
import logging
import warnings
from pathlib import Path
from typing import Any

from latprof.common.limits import whole
from latprof.errors import UsageError

DEFAULT_PORT = 8786
LOOPBACK = "127.0.0.1"
#: What names of folders of schedulers and workers begin with.
FOLDERS = "latprof-farm-"
PORT = whole(0, 65_535)
#: Of dask, for scheduler, workers and clients. Nothing that may be left out listens, or wakes up
#: beside a measurement.
SETTINGS: dict[str, Any] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    # A worker that is stuck is known to be after so long; one of a busy host only seems to be.
    "distributed.scheduler.worker-ttl": "120s",
    "distributed.comm.timeouts.connect": "10s",
    # A host whose cable is cut is known to be gone after so long.
    "distributed.comm.timeouts.tcp": "30s",
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "30s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.diagnostics.nvml": False,
    # A model's file goes with its first visit: no reason for a warning.
    "distributed.admin.large-graph-warning-threshold": "100GiB",
}
#: Loggers of dask that would print tracebacks of connections that close.
_TALKING = ("distributed", "distributed.client")


def use_settings() -> None:
    """Set what dask of this process does, whatever its files and variables say."""
    import dask

    # Tracebacks of closed connections are no news; DASK_LOGGING__DISTRIBUTED=info asks for all.
    is_quiet = not dask.config.get("logging", None)
    if is_quiet:
        dask.config.set(logging=dict.fromkeys(_TALKING, "critical"))
    from distributed.versions import VersionMismatchWarning  # its settings are read with it

    for handler in logging.getLogger("distributed").handlers if is_quiet else ():
        handler.addFilter(_is_news)

    dask.config.set(SETTINGS)
    # A table of lines for hosts with another NumPy; latprof's own version is checked.
    warnings.simplefilter("ignore", VersionMismatchWarning)
    # A host that is busy makes its folder slowly, and the setting that is named is not the user's.
    warnings.filterwarnings("ignore", "Creating scratch directories")


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record of dask or its event loop says more than that a connection is closed."""
    from distributed.comm import CommClosedError

    return not (record.exc_info and isinstance(record.exc_info[1], CommClosedError))


def is_loopback(host: str) -> bool:
    """Whether a host's name or address can only be this computer."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_listening(host: str, keys: Path | None) -> str:
    """Where a scheduler listens; raises UsageError for others than this computer without keys."""
    if keys is not None:
        return host or "0.0.0.0"  # noqa: S104 - only who shows a certificate is let in
    if host and not is_loopback(host):
        raise UsageError(
            f"without keys a farm listens on this computer alone, not on {host}",
            field="host",
            hint="make keys with latprof farm keys: whoever reaches a scheduler runs code on all "
            "its hosts",
        )
    return host or LOOPBACK


def cannot_listen(place: str, error: Exception) -> UsageError:
    """The error for a place that cannot be listened on; dask raises its own, for the system's."""
    cause = error.__cause__ or error
    why = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return UsageError(f"cannot listen on {place}: {why[:200]}", field="port")


def check_address(text: str, keys: Path | None) -> str:
    """The scheduler's address as dask takes it, ``tls://HOST:PORT``.

    Without a scheme it is that of the keys. Raises UsageError for what is none, for a connection
    without keys to another computer, and for TLS without keys.
    """
    scheme, separator, rest = text.rpartition("://")
    scheme = scheme if separator else "tls" if keys else "tcp"
    host, colon, port = rest.rpartition(":")
    if not colon:
        host, port = rest, str(DEFAULT_PORT)
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    if scheme not in {"tls", "tcp"} or not host or not 0 < number < 1 << 16 or "/" in rest:
        raise UsageError(
            "not a farm's address", field="farm", expected="tls://HOST:PORT", got=text[:200]
        )
    if scheme == "tls" and keys is None:
        raise UsageError(
            "this address takes keys, and there are none here",
            field="keys",
            hint="copy them from the scheduler's host, or make some with latprof farm keys",
        )
    if scheme == "tcp" and not is_loopback(host):
        raise UsageError(
            "a connection without keys stays on this computer",
            field="farm",
            expected="tls://HOST:PORT, or tcp://127.0.0.1:PORT",
            got=text[:200],
            hint="make keys with latprof farm keys",
        )
    return f"{scheme}://{host}:{number}"
