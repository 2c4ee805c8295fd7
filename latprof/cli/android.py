"""``latprof android``."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import Json, note, one_line, remark
from latprof.cli.formats import Form, Format, form_of, print_as

if TYPE_CHECKING:
    from latprof.profilers.runtimes.android.library import RuntimeLibrary
    from latprof.workflows.android import AndroidResult


class Action(StrEnum):
    """What is done for phones."""

    SETUP = "setup"
    RESTORE = "restore"
    CLEAN = "clean"
    PAIR = "pair"


def android(
    action: Annotated[
        Action,
        typer.Argument(
            metavar="setup|restore|clean|pair",
            help="setup: take the runtime library that phones get. restore: put a phone back as it "
            "was, where a latprof that was killed could not. clean: also remove what latprof wrote "
            "there. pair: make a phone known over Wi-Fi.",
        ),
    ],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE|SERIAL|HOST:PORT]",
            help="For setup: a library (.so), or an AAR, wheel or zip file that holds it, here or "
            "at an https address; where not given, the makers' own is fetched. For restore and "
            "clean: the phone, where several are there. For pair: what the phone shows.",
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            help="litert or onnxruntime; where not given, what SOURCE is. benchmark-model: the "
            "official program of that name, for GPUs and NPUs."
        ),
    ] = None,
    abi: Annotated[
        str | None, typer.Option(help="Which library of several, e.g. arm64-v8a.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="SHA-256 that SOURCE must have.")
    ] = None,
    code: Annotated[
        str | None, typer.Option(metavar="DIGITS", help="The code that the phone shows, for pair.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="Longest time for a download.")
    ] = 600.0,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Set up measuring on phones: the runtime library that they get.

    Taken once, it is remembered for every phone; size and SHA-256 are shown. Then plug a phone in,
    and `latprof devices` lists it.
    """
    from latprof.workflows.android import android as run

    form = form_of(form, as_json=as_json)
    result = run(
        action.value,
        source,
        runtime=runtime,
        abi=abi,
        sha256=sha256,
        code=code,
        timeout_s=timeout_s,
        on_progress=_show if sys.stderr.isatty() else None,
        on_note=remark,
    )
    print_as(form, result.to_dict(), lambda: _print_result(result))


def _print_result(result: AndroidResult) -> None:
    if result.library is not None:
        _print(result.library)
    elif result.paired:
        typer.echo(f"{one_line(result.paired)}: paired")
    else:
        removed = ", what latprof wrote there removed" if result.cleaned else ""
        typer.echo(f"{one_line(result.serial)}: {result.undone} changes undone{removed}")


def _show(came: int, total: int | None) -> None:
    share = f" of {total / 1e6:.1f}" if total else ""
    end = "\n" if came == total else ""
    typer.echo(f"\r{came / 1e6:.1f}{share} MB", err=True, nl=False)
    typer.echo(end, err=True, nl=False)


def _print(library: RuntimeLibrary) -> None:
    rows = [
        ("runtime", f"{library.runtime} ({library.name}, {library.abi})"),
        ("size", f"{library.size_bytes:,} bytes"),
        ("sha256", library.sha256),
        ("from", one_line(library.source)),
        ("needs", f"Android with API level {library.least_sdk}" if library.least_sdk else ""),
        ("kept at", str(library.path)),
    ]
    for name, text in rows:
        if text:
            typer.echo(f"{name:8} {text}")
    note("next: plug the phone in, and see `latprof devices`")
