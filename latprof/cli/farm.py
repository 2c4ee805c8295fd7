"""``latprof farm``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from latprof.cli.console import Json, note, one_line, print_table, remark
from latprof.cli.formats import Form, Format, form_of, print_as
from latprof.common.limits import whole
from latprof.errors import UsageError

_DAYS, _PORT = whole(1, 36_500), whole(0, 65_535)
_DEFAULT_DAYS = 825
_SCHEDULER_PORT = 8786


class FarmAction(StrEnum):
    """What is done with a farm."""

    KEYS = "keys"
    START = "start"
    JOIN = "join"
    STATUS = "status"


#: What each takes beside the keys.
_TAKES = {
    FarmAction.KEYS: {"days"},
    FarmAction.START: {"host", "port"},
    FarmAction.JOIN: {"address", "port", "only", "host_label"},
    FarmAction.STATUS: {"address", "output"},
}
#: Options that say where a farm's keys are.
Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FOLDER",
        help="Folder of the farm's keys; where not given, the default one if there is one.",
    ),
]


def farm(
    action: Annotated[
        FarmAction,
        typer.Argument(
            metavar="keys|start|join|status",
            help="keys: make the farm's keys. start: run its scheduler. join: offer this host's "
            "devices. status: say what is there.",
        ),
    ],
    address: Annotated[
        str | None,
        typer.Argument(
            metavar="[tls://HOST:PORT]", help="The scheduler's address, for join and status."
        ),
    ] = None,
    keys: Keys = None,
    days: Annotated[
        int, typer.Option(metavar="N", help="With keys: how long they are good for.")
    ] = _DEFAULT_DAYS,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="With start: listen on this address alone. Without keys it can only be this "
            "computer's own, 127.0.0.1.",
        ),
    ] = "",
    port: Annotated[
        int | None,
        typer.Option(
            help="With start and join: the port that is listened on, 0 for any that is free; 8786 "
            "and 0 where not given.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="DEVICE...",
            help="With join: offer these devices or targets, with * for any text.",
        ),
    ] = None,
    host_label: Annotated[
        str,
        typer.Option(metavar="NAME", help="With join: what the host is called in targets."),
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="PAGE", help="With status: write it as an HTML page too."
        ),
    ] = None,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Measure on the devices of many hosts: a scheduler, and a worker on each host.

    A scheduler runs what it is sent, on all hosts of the farm. So without keys it listens on this
    computer alone; with keys whoever shows no certificate of theirs is refused.

    For example:

    `latprof farm keys`

    `latprof farm start`

    `latprof farm join tls://HOST:8786`

    `latprof collect --space proxyless --farm tls://HOST:8786 --target adb:litert --store lab.db`
    """
    form = form_of(form, as_json=as_json)
    _DAYS.check("days", days)
    if port is not None:
        _PORT.check("port", port)
    given: dict[str, object] = {"address": address, "host": host, "only": only, "output": output}
    given |= {"host_label": host_label, "port": port is not None, "days": days != _DEFAULT_DAYS}
    for name, value in given.items():
        if value and name not in _TAKES[action]:
            raise UsageError(f"`{name}` is not for farm {action}", field=name)
    if action in {FarmAction.JOIN, FarmAction.STATUS} and address is None:
        raise UsageError("no address of a farm", field="address", expected="tls://HOST:PORT")
    if action is FarmAction.KEYS:
        from latprof.farm.farm_keys import make_keys

        place = make_keys(keys, days=days)
        typer.echo(f"{one_line(str(place))}: copy this folder to each host of the farm")
    elif action is FarmAction.START:
        from latprof.farm.starting import start

        start(host, _SCHEDULER_PORT if port is None else port, keys=keys, on_ready=_say_address)
    elif action is FarmAction.JOIN:
        from latprof.farm.joining import join

        join(
            str(address),
            keys=keys,
            only=only or (),
            label=host_label,
            port=port or 0,
            on_note=remark,
        )
    else:
        _print_status(str(address), keys, output, form)


def _say_address(address: str) -> None:
    typer.echo(address)
    note(f"latprof: the farm is ready: latprof farm join {address}")


def _print_status(address: str, keys: Path | None, output: Path | None, form: Form) -> None:
    from latprof.common.files import check_output, write_atomically
    from latprof.farm.farm_status import HEADER, status

    if output is not None:
        check_output(output)
    found = status(address, keys=keys)
    if output is not None:
        write_atomically(output, found.page().encode())

    def for_people() -> None:
        print_table(HEADER, found.rows(), left=3)
        for device, error in found.last_errors():
            typer.echo(f"{one_line(device)}: the last error: {one_line(error)}")
        typer.echo(f"\n{one_line(found.summary())}")

    print_as(form, found.to_dict(), for_people, rows="devices")
