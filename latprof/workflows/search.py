"""Searching for the most accurate network under a latency limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from latprof.common.extras import needs
from latprof.errors import (
    DeviceError,
    LatprofError,
    MeasurementTimeoutError,
    OwnCodeError,
    UsageError,
)
from latprof.measurement.visits import Failure
from latprof.workflows.arguments import (
    OnNote,
    PackLike,
    PathLike,
    SpaceLike,
    StoreLike,
    name_of,
    open_store,
    packs_of,
    quiet_of,
)
from latprof.workflows.report import check_page, write_page
from latprof.workflows.search_result import SearchProgress, SearchResult
from latprof.workflows.verify import VISITS, check_visits, target_here
from latprof.workflows.verify import verify as measure

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture
    from latprof.predictors.pack.pack import Pack
    from latprof.profilers.visits.schedule import VisitProgress
    from latprof.searchers.base import AccuracySource, Evaluation
    from latprof.searchers.resuming import StoredRun
    from latprof.searchers.studies.cross_target import CrossTarget
    from latprof.searchers.verification import Verification
    from latprof.workflows.search_request import SearchRequest

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


@needs("search", "pandas", "scipy", "sqlalchemy")
def search(
    *,
    space: SpaceLike | None = None,
    pack: PackLike | None = None,
    latency: PathLike | None = None,
    limit_ms: float = math.inf,
    method: str = "evolution",
    accuracy: PathLike | AccuracySource | None = None,
    column: str = "",
    data: PathLike | None = None,
    image_size: int = 32,
    epochs: int = 40,
    budget: int | None = None,
    upper: float | None = 0.95,
    options: Mapping[str, Any] = _NO_OPTIONS,
    at_once: int = 1,
    seed: int = 0,
    store: StoreLike = "latprof.db",
    output: PathLike | None = None,
    png: PathLike | None = None,
    export: PathLike | None = None,
    verify: bool = False,
    visits: int = VISITS,
    other_target: bool = False,
    wait_quiet_s: float | None = None,
    require_quiet: bool = False,
    also: PackLike | Sequence[PackLike] = (),
    on_progress: Callable[[SearchProgress], None] | None = None,
    on_note: OnNote | None = None,
) -> SearchResult:
    """Find the most accurate network that keeps a latency limit.

    Every step is in the store before the next begins. Safe to interrupt: the same call resumes.

    Parameters
    ----------
    space : SearchSpace or str, optional
        Search space; without ``pack`` the one that comes with latprof for it answers. One of your
        own is needed to open its packs.
    pack : Pack, path or str, optional
        Predictor of the latencies.
    latency : str or path, optional
        In place of a pack: measured latencies of every network, a data set's name or its file.
    limit_ms : float
        Largest latency in milliseconds; infinity searches the accuracy/latency Pareto front.
    method : str
        One of :func:`latprof.searchers.searcher_names`.
    accuracy : callable, path or str, optional
        A function from a list of n architectures to n accuracies; ``"module:function"``; or the
        file of a table.
    column : str
        The column of the table.
    data : str or path, optional
        In place of ``accuracy``: images to train a supernet on, ``"digits"`` or a folder with one
        folder a class.
    image_size, epochs : int
        With ``data``: height and width; epochs of the supernet for methods without gradients.
    budget : int, optional
        Networks evaluated (500); for methods by gradient, epochs (50).
    upper : float or None
        Fraction of measurements that must stay within the limit; None uses the prediction itself.
    options : mapping of str to object
        Of the method.
    at_once : int
        Largest batch passed to the accuracy function.
    seed : int
        Of every random choice.
    store : path, URL or Store
        Where the steps are stored.
    output, png, export : path, optional
        A page about the search, a folder for its plots, and the network found as ONNX.
    verify : bool
        Measure the network found on this host.
    visits : int
        With ``verify``: fresh loads of the network.
    other_target : bool
        With ``verify``: measure although the pack is of another host.
    wait_quiet_s : float, optional
        With ``verify``: wait at most so long for a quiet host, in seconds.
    require_quiet : bool
        With ``verify``: give no measurement where the host is busy.
    also : pack, or sequence of packs
        Other targets: also find an equally accurate network for each, and report every network on
        every target.
    on_progress : callable, optional
        Called after every step with a :class:`SearchProgress`.
    on_note : callable, optional
        Called with remarks: what begins after the search.

    Raises
    ------
    UsageError
        For arguments that do not go together; its subclasses for single ones.
    MissingDependencyError
        For a library that the method, the images or the page need, before the search.
    TargetMismatchError
        For ``verify`` on another host than the pack's.
    InputFileError
        For a pack, a table, images or a store that cannot be used.
    """
    from latprof.workflows.search_latencies import open_latencies
    from latprof.workflows.search_request import SearchRequest

    request = SearchRequest(
        open_latencies(pack, latency, space),
        method,
        accuracy,
        column,
        data,
        image_size,
        epochs,
        limit_ms,
        upper,
        budget,
        seed,
        options,
        at_once,
    )
    check_visits(visits)
    for name, given in (
        ("other_target", other_target),
        ("wait_quiet", wait_quiet_s is not None),
        ("require_quiet", require_quiet),
    ):
        if given and not verify:
            raise UsageError(f"`{name}` is for `verify`", field=name)
    quiet_of(wait_quiet_s, require_quiet=require_quiet)
    _check_outputs(output, png, export, (pack, accuracy, latency, store))
    packs = _packs(request, packs_of(also), verify=verify, other_target=other_target)
    run = _run(request, store, on_progress)
    best = run.found.best
    verified: Verification | None = None
    table: CrossTarget | None = None
    unmeasured: Failure | None = None
    say = on_note or (lambda _text: None)
    bound = request.problem.upper
    measuring = _Measuring(visits, other_target, wait_quiet_s, require_quiet, say, bound)
    try:
        if best is not None and verify:
            say("measuring the network found")
            verified = measuring.verify(packs[0], best.architecture, request.limit_ms)
        if best is not None and len(packs) > 1:
            say(f"searching for the own network of each of {len(packs)} targets")
            table = _cross_target(request, packs, best, measuring if verify else None)
    except (DeviceError, MeasurementTimeoutError) as error:  # what was found stays found
        unmeasured = Failure.of(error)
    result = SearchResult(request, run, verified, table, unmeasured=unmeasured)
    return _written(result, output, png, export)


class _Spoken:
    """Says where the visits of a verification stand, at each quarter."""

    def __init__(self, say: OnNote) -> None:
        self._say, self._said = say, 0

    def __call__(self, progress: VisitProgress) -> None:
        done = progress.made + progress.failed
        if 4 * done // progress.total > self._said and done < progress.total:
            self._said = 4 * done // progress.total
            self._say(f"{done} of {progress.total} visits are made")


@dataclass(frozen=True)
class _Measuring:
    """How networks are measured after the search."""

    visits: int
    other_target: bool
    wait_quiet_s: float | None
    require_quiet: bool
    say: OnNote
    upper: float | None

    def verify(self, pack: Pack, found: Architecture, limit_ms: float = math.inf) -> Verification:
        return measure(
            pack,
            found,
            limit_ms=limit_ms,
            upper=self.upper,
            visits=self.visits,
            other_target=self.other_target,
            wait_quiet_s=self.wait_quiet_s,
            require_quiet=self.require_quiet,
            on_progress=_Spoken(self.say),
            on_note=self.say,
        )

    def measured_ms(self, pack: Pack, found: Architecture) -> float:
        verified = self.verify(pack, found)
        for text in () if verified.visits is None else verified.visits.notes():
            self.say(f"{found}: {text}")
        return verified.measured_ms


def _check_outputs(
    output: PathLike | None,
    png: PathLike | None,
    export: PathLike | None,
    inputs: tuple[object, ...],
) -> None:
    from latprof.common.files import check_output

    check_page(output, png, inputs)
    if export is not None:
        check_output(export, others=(*inputs, output))


def _packs(
    request: SearchRequest, also: Sequence[PackLike], *, verify: bool, other_target: bool
) -> list[Pack]:
    """The search's pack and those of other targets; what is wrong is said before it starts."""
    from latprof.workflows.search_latencies import of_pack

    own = request.latencies
    if own.pack is None and (also or verify):
        raise UsageError("`verify` and `also` are for predictors", expected="`pack`")
    if also and request.gradient:
        raise UsageError("`also` is for methods without gradients", field="also")
    others = [of_pack(each, None if own.space.is_found_by_name else own.space) for each in also]
    files = [each.digest for each in (own, *others)]
    if len(set(files)) < len(files):
        raise UsageError("one target twice", field="also", got=", ".join(map(name_of, also)))
    packs = [each.pack for each in (own, *others) if each.pack is not None]
    for pack in packs:
        pack.check_space(own.space)
        if verify:
            target_here(pack, other_target=other_target)
    return packs


def _run(
    request: SearchRequest,
    store: StoreLike,
    on_progress: Callable[[SearchProgress], None] | None,
) -> StoredRun:
    from latprof.searchers.base import best_of

    problem, steps = request.problem, request.steps
    unit = "epoch" if request.gradient else "network"
    best: Evaluation | None = None

    def on_step(number: int, step: Evaluation) -> None:
        nonlocal best
        known = [] if best is None or request.gradient else [best]
        best = best_of([*known, step], problem.limit_ms) or best
        if on_progress is not None:
            on_progress(SearchProgress(number, steps, unit, best))

    with open_store(store, create=True) as opened:
        try:
            return request.run(opened, on_step=on_step)
        except Exception as error:
            kept = f"what was evaluated is in {opened.location}"
            if isinstance(error, OwnCodeError):
                error.hint = kept
            elif not isinstance(error, LatprofError):
                error.add_note(f"latprof: the accuracy function raised an error; {kept}")
            raise


def _cross_target(
    request: SearchRequest, packs: Sequence[Pack], best: Evaluation, measuring: _Measuring | None
) -> CrossTarget:
    from latprof.searchers.studies.cross_target import search_each_target

    return search_each_target(
        request.searcher(),
        request.problem,
        packs,
        best,
        request.steps,
        seed=request.seed,
        measure_ms=None if measuring is None else measuring.measured_ms,
    )


def _written(
    result: SearchResult, output: PathLike | None, png: PathLike | None, export: PathLike | None
) -> SearchResult:
    """Write the files that were asked for; the result names them."""
    from dataclasses import replace

    from latprof.common.files import write_atomically

    written: list[Path] = []
    latencies, best = result.request.latencies, result.best
    if export is not None and best is not None:
        batch_size = 1 if latencies.target is None else latencies.target.batch_size
        content = latencies.space.onnx_bytes(best.architecture, batch_size=batch_size)
        written.append(write_atomically(export, content))
    if output is not None or png is not None:
        page = write_page(result.report().content, output, png)
        written += [*([] if page.page is None else [page.page]), *page.pictures]
    return replace(result, written=tuple(written))
