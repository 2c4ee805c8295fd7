"""Pages that show the measurements, the predictions, and how far to trust them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.extras import needs, require
from latprof.common.short_reprs import ShortRepr
from latprof.errors import UsageError
from latprof.workflows.arguments import (
    PackLike,
    PathLike,
    SpaceLike,
    StoreLike,
    name_of,
    open_pack,
    open_store,
    space_of,
)

if TYPE_CHECKING:
    from latprof.reports.rendering.content import Report


@dataclass(frozen=True, eq=False, repr=False)
class ReportResult(ShortRepr):
    """A report, and the files that were written of it.

    A notebook shows it as the page itself.

    Parameters
    ----------
    content : Report
        Everything that it shows, before any renderer.
    page : Path or None
        The page's file.
    pictures : tuple of Path
        The plots' files.
    """

    content: Report
    page: Path | None = None
    pictures: tuple[Path, ...] = ()

    @property
    def html(self) -> str:
        """The page: one file that needs no network."""
        from latprof.reports.rendering.page import render_report

        return render_report(self.content)

    def _repr_html_(self) -> str:
        from html import escape

        page = escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:80vh;border:0"></iframe>'

    def to_dict(self) -> dict[str, Any]:
        """Return the paths as plain JSON values."""
        return {
            "title": self.content.title,
            "page": None if self.page is None else str(self.page),
            "pictures": [str(path) for path in self.pictures],
        }


@needs("report")
def report(
    stores: StoreLike | Sequence[StoreLike],
    output: PathLike | None = None,
    *,
    pack: PackLike | None = None,
    space: SpaceLike | None = None,
    png: PathLike | None = None,
    target: str | None = None,
    side_by_side: bool = False,
    static: bool = False,
) -> ReportResult:
    """Show the measurements of a store, the predictions, and how far to trust them.

    The page is a single file, needs no network and follows the reader's light or dark setting. Of a
    store that keeps searches alone the last one is shown.

    Parameters
    ----------
    stores : path, URL or Store; several with ``side_by_side``
    output : path, optional
        The page to write.
    pack : Pack, path or str, optional
        A predictor to show beside the measurements.
    space : SearchSpace or str, optional
        The store's search space, where it is one of your own.
    png : path, optional
        A folder where every plot is written as a picture.
    target : str, optional
        Which of the store's targets, where it holds several.
    side_by_side : bool
        Compare all targets of the stores on the networks that they share.
    static : bool
        Write a small page with pictures in place of interactive plots.

    Raises
    ------
    UsageError
        For arguments that do not go together, or one target to compare.
    TargetMismatchError
        For a pack of another target.
    StoreError, NotEnoughDataError, PackError
        For the store and the pack.
    OutputPathError
        For what cannot be written, before anything is read.
    """
    from latprof.measurement.store.store import Store

    several = [stores] if isinstance(stores, str | os.PathLike | Store) else list(stores)
    _check(several, pack, target, side_by_side=side_by_side)
    check_page(output, png, (*several, pack))
    content = (
        _all_targets(several) if side_by_side else _one_target(several[0], target, pack, space)
    )
    return write_page(content, output, png, is_static=static)


def check_page(
    output: PathLike | None, png: PathLike | None, others: Iterable[object] = ()
) -> None:
    """Raise, before the work, for paths that cannot be written and libraries that are missing.

    ``others`` are what the work reads or writes besides.
    """
    from latprof.common.files import check_output

    if output is not None or png is not None:
        require("report", "a report")
    if output is not None:
        check_output(output, others=others)
    if png is not None:
        check_output(png, directory=True)


def write_page(
    content: Report, output: PathLike | None, png: PathLike | None, *, is_static: bool = False
) -> ReportResult:
    """Write what was asked for of a report's page and pictures."""
    from latprof.reports.rendering.page import write_pictures, write_report

    page = None if output is None else write_report(content, output, is_static=is_static)
    return ReportResult(content, page, () if png is None else tuple(write_pictures(content, png)))


def _check(
    stores: Sequence[StoreLike], pack: object, target: object, *, side_by_side: bool
) -> None:
    if side_by_side and (pack is not None or target is not None):
        raise UsageError(
            "`side_by_side` shows all targets and no predictions, so neither `pack` nor `target` "
            "goes with it",
            field="side_by_side",
        )
    if not stores or (len(stores) > 1 and not side_by_side):
        raise UsageError(
            "several stores need `side_by_side`" if stores else "there is no store",
            field="stores",
            got=" ".join(map(name_of, stores)) or None,
        )


def _one_target(
    store: StoreLike, target: str | None, pack: PackLike | None, space: SpaceLike | None
) -> Report:
    from latprof.measurement.labels import TargetLabels
    from latprof.reports.gathering import report_data
    from latprof.reports.target_report import build_report

    own = space_of(space)
    loaded = None if pack is None else open_pack(pack, own)
    with open_store(store) as opened:
        if pack is None and target is None and not any(t.measurements for t in opened.targets()):
            from latprof.workflows.stored_searches import searches_report

            return searches_report(opened, own)
        return build_report(report_data(TargetLabels.of(opened, target), loaded, own))


def _all_targets(stores: Sequence[StoreLike]) -> Report:
    from latprof.measurement.across.side_by_side import side_by_side
    from latprof.measurement.labels import TargetLabels
    from latprof.reports.side_by_side_report import build_side_by_side_report

    with ExitStack() as stack:
        opened = [stack.enter_context(open_store(each)) for each in stores]
        sources = [measured for store in opened for measured in TargetLabels.all_of(store)]
        if len(sources) < 2:
            raise UsageError(
                "there is one target only, and nothing to compare it with",
                got=", ".join(measured.target.describe() for measured in sources) or "no target",
                hint="collect the same networks for another target, into this store or another",
            )
        return build_side_by_side_report(side_by_side(sources))
