"""``latprof zoo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import Json, Seed, note, one_line, print_table
from latprof.cli.formats import Form, Format, form_of, print_as

if TYPE_CHECKING:
    from latprof.workflows.zoo import ZooResult


def complete_zoo() -> list[str]:
    """Names of the networks of the zoo, for shell completion."""
    from latprof.datasets.zoo.catalogue import names

    return names()


def zoo(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Count one network.", autocompletion=complete_zoo),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write its ONNX model."),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(help="Height and width of the image, or tokens of the text."),
    ] = None,
    width: Annotated[float, typer.Option(help="Factor of every number of channels.")] = 1.0,
    batch_size: Annotated[int, typer.Option(help="Images or texts a run.")] = 1,
    seed: Seed = 0,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """List the networks of the zoo, or count one and write its model.

    The networks that users of this field measure first, with random weights and the parameters and
    multiply-accumulates (MACs) of their public implementations.

    For example:

    `latprof zoo mobilenet-v2 -o m.onnx --resolution 160 --width 0.5`
    """
    from latprof.workflows.zoo import zoo as run

    form = form_of(form, as_json=as_json)
    found = run(
        name,
        output=output,
        resolution=resolution,
        width=width,
        batch_size=batch_size,
        seed=seed,
    )
    if name is None:
        print_as(form, [each.to_dict() for each in found], lambda: _print_all(found))
    else:
        print_as(form, found[0].to_dict(), lambda: _print_one(found[0]))
    if found[0].path is not None:
        note(f"{found[0].path} written")


def _print_all(found: tuple[ZooResult, ...]) -> None:
    signs = {"equal": "= ", "within rounding": "~ ", "not checked": "-"}
    print_table(
        ("network", "counts of", "input", "parameters", "MACs"),
        [
            (
                each.network.name,
                signs[each.network.check] + _short_source(each.network.source),
                str(each.resolution),
                f"{each.parameters:,}",
                f"{each.macs:,}",
            )
            for each in found
        ],
        left=2,
    )
    typer.echo("=: the counts are equal; ~: they are within the published figures' rounding")


def _short_source(source: str) -> str:
    """A library, or a paper."""
    words = source.rstrip(",").split()
    return " ".join(words[:2] if words[:1] == ["arXiv"] else words[:1]).rstrip(",")


def _print_one(found: ZooResult) -> None:
    network = found.network
    kind = "tokens" if network.tokens else f"x {found.resolution} pixels"
    typer.echo(f"network     {network.name}, family {network.family}")
    typer.echo(
        f"input       {found.resolution} {kind}, batch {found.batch_size}, width {found.width:g}"
    )
    typer.echo(f"parameters  {found.parameters:,}")
    typer.echo(f"MACs        {found.macs:,}")
    published = " and ".join(filter(None, network.published))
    of = f" ({published})" if published else ""
    if network.source:
        typer.echo(f"published   {network.check}: {network.source}{of}, at {network.resolution}")
    else:
        typer.echo("published   not checked")
    if network.note:
        typer.echo(f"note        {one_line(network.note)}")
