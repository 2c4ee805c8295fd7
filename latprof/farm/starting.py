"""A farm's scheduler."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from latprof.common.children.owned_folders import OwnedFolder
from latprof.common.extras import require
from latprof.farm.addresses import (
    DEFAULT_PORT,
    FOLDERS,
    LOOPBACK,
    PORT,
    cannot_listen,
    check_listening,
    use_settings,
)
from latprof.farm.farm_keys import find_keys, security_of


def start(
    host: str = "",
    port: int = DEFAULT_PORT,
    *,
    keys: str | os.PathLike[str] | None = None,
    on_ready: Callable[[str], None] = lambda _address: None,
) -> None:
    """Run a farm's scheduler until it is interrupted.

    With keys it listens on all addresses of this host, or ``host``, and lets in who shows their
    certificate. Without keys it listens on this computer alone. It keeps nothing: when it dies,
    workers and collections find the next one at the same address.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        0 for any that is free.
    keys : path, optional
        Folder of the keys; the default one where there is one.
    on_ready : callable, optional
        Called with the address that workers join.

    Raises
    ------
    UsageError
        For another address than this computer's without keys, and a port that is taken.
    InputFileError
        For keys that cannot be used.
    """
    require("farm", "latprof farm start", "distributed", "cryptography")
    PORT.check("port", port)
    folder = find_keys(keys)
    use_settings()
    listening = check_listening(host, folder)
    with OwnedFolder(FOLDERS) as place:
        asyncio.run(_serve(listening, port, folder, on_ready, place))


async def _serve(
    host: str, port: int, keys: Path | None, on_ready: Callable[[str], None], place: Path
) -> None:
    from distributed import Scheduler

    try:
        scheduler = await Scheduler(
            host=host,
            port=port,
            protocol="tls://" if keys else "tcp://",
            security=security_of(keys),
            dashboard=False,
            dashboard_address=f"{LOOPBACK}:0",
            local_directory=str(place),
        )
    except (OSError, RuntimeError) as error:
        raise cannot_listen(f"{host}:{port}", error) from None
    try:
        on_ready(scheduler.address)
        await scheduler.finished()
    finally:
        await scheduler.close()
