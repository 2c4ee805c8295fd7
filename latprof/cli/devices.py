"""``latprof devices``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import Json, print_table
from latprof.cli.formats import Form, Format, form_of, print_as
from latprof.workflows.formatting import short_device

#: Of a terminal; longer details go on below.
_WIDTH = 80

if TYPE_CHECKING:
    from latprof.workflows.devices import DeviceResult


def devices(
    modes: Annotated[
        bool,
        typer.Option("--modes", help="List each target's execution modes and compute dtypes."),
    ] = False,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """List what can be measured here, and what to install for the rest.

    The first column is the short spelling that `collect --target` takes; capitals in it stand for
    an address, as N in cuda:N:torch for the number of a GPU. Phones on a cable or known to a
    running adb server come last, with what they are or what keeps them from being used.
    """
    from latprof.workflows.devices import devices as listed

    form = form_of(form, as_json=as_json)
    found = listed()
    for_people = _print_modes if modes else _print
    print_as(form, [each.to_dict() for each in found], lambda: for_people(found))


def _print(found: Sequence[DeviceResult]) -> None:
    from latprof.profilers.host.facts import processor_name

    name = processor_name()
    details = [d.detail.replace(name, short_device(name)) for d in found]
    print_table(
        ("target", "state", "detail"),
        [
            (d.target, d.state, detail + (f"; {_word(d)}: {d.remedy}" if d.remedy else ""))
            for d, detail in zip(found, details, strict=True)
        ],
        left=3,
        width=_WIDTH,
    )


def _word(device: DeviceResult) -> str:
    command = device.phone is not None or device.remedy.startswith("run ")
    return "next" if command else "install with"


def _print_modes(found: Sequence[DeviceResult]) -> None:
    rows = []
    for device in (each for each in found if each.phone is None):
        rows.append((device.target, "--dtype", ", ".join(device.dtypes)))
        for word, meaning in device.modes.items():
            number = "N" if word.endswith("=") else ""
            rows.append(("", f"--mode {word}{number}", meaning))
    print_table(("target", "option", "meaning"), rows, left=3, width=_WIDTH)
