"""What the arguments of workflows may be, and how the errors about them are worded.

A sentence about arguments names each in backquotes (```max_visits` needs `half_width```): Python
shows it so, and the command line puts its own options in their place
(:func:`latprof.cli.commands.spelled`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Union

from latprof.common.files import path_text
from latprof.common.limits import NOT_ALL, POSITIVE, whole
from latprof.errors import InvalidValueError, UsageError, did_you_mean, shown

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.measurement.records import PairedProtocol
    from latprof.measurement.store.store import Store
    from latprof.predictors.pack.kernel_pack import KernelPack
    from latprof.predictors.pack.pack import Pack
    from latprof.profilers.base import RunOptions
    from latprof.profilers.host.host_report import Quiet
    from latprof.profilers.visits.schedule import OnVisit
    from latprof.profilers.watching import Watch

#: Most visits to a network that is measured to a half-width.
MAX_VISITS = 64
#: Paths are text or path objects everywhere.
PathLike: TypeAlias = str | os.PathLike[str]
#: A store's file, a database URL, or a store that is open (it stays open).
StoreLike: TypeAlias = Union[PathLike, "Store"]
#: A pack, a pack's file, or the name of one that comes with latprof.
PackLike: TypeAlias = Union[PathLike, "Pack"]
#: The same, or packs of kernels.
AnyPackLike: TypeAlias = Union[PackLike, "KernelPack"]
#: A model's file, an architecture, or its spelling.
NetworkLike: TypeAlias = Union[PathLike, "Architecture"]
#: A search space, its name, or ``"module:name"`` of one of your own.
SpaceLike: TypeAlias = Union[str, "SearchSpace"]
#: Shapes of a model's inputs, by name; the key None is the shape of the only input.
Shapes: TypeAlias = Mapping[str | None, Sequence[int]] | None
#: NumPy files with the values of models' inputs, by name.
Inputs: TypeAlias = Mapping[str, PathLike] | None
#: Between two remarks on what is waited for.
_NOTE_EVERY_S = 15.0
#: Called with a remark for people as soon as there is one.
OnNote: TypeAlias = Callable[[str], None]


class RuntimeArguments(TypedDict, total=False):
    """How a runtime runs networks on a target; a part of its identity.

    Parameters
    ----------
    cores : sequence of int, or str
        Cores that the measuring process is pinned to; empty leaves it to the scheduler. Of a phone
        its own, or ``"big"`` (the default), ``"prime"`` or ``"little"``.
    dtype : str
        Compute dtype: ``"float32"``, ``"float16"``, ``"int8"``, ...
    mode : str or sequence of str
        Execution mode, such as ``"compile,channels-last"``; :func:`latprof.devices` lists each
        target's.
    tune_trials : int
        Trials of each kernel, for runtimes that tune: short for ``mode="tuned=N"``.
    """

    cores: Sequence[int] | str
    dtype: str
    mode: str | Sequence[str]
    tune_trials: int | None


class RunArguments(RuntimeArguments, total=False):
    """How networks run on a target: as :class:`RuntimeArguments`, and how much at once.

    Parameters
    ----------
    batch_size : int
        Images a run, for architectures (1); a model brings its own.
    threads : int
        Threads inside an operator (1).
    """

    batch_size: int
    threads: int


def quiet_of(wait_quiet_s: float | None, *, require_quiet: bool) -> Quiet:
    """What is asked of the host; raises InvalidValueError for what can not be waited for."""
    from latprof.profilers.host.host_report import Quiet

    if wait_quiet_s is not None:
        POSITIVE.check("wait_quiet", wait_quiet_s)
    return Quiet(wait_quiet_s, require_quiet)


def watch_of(quiet: Quiet, on_progress: OnVisit | None, on_note: OnNote | None) -> Watch:
    """Who watches a measurement: what a device is waited for is said now and then."""
    from latprof.profilers.watching import Watch

    say = on_note or (lambda _text: None)
    return Watch(quiet, on_progress, say, now_and_then(on_note))


def protocol_of(
    visits: int, half_width: float | None, max_visits: int | None, **bursts: Any
) -> PairedProtocol:
    """The protocol of each visit; raises UsageError for a bound on visits that nothing uses."""
    from latprof.measurement.records import PairedProtocol

    wide = 0.0 if half_width is None else half_width
    whole(1).check("visits", visits)
    NOT_ALL.check("half_width", wide)
    if max_visits is not None and not wide:
        raise UsageError(
            "`max_visits` is for `half_width`",
            field="max_visits",
            hint="`visits` sets the number of visits",
        )
    most = max(MAX_VISITS, visits) if max_visits is None else max_visits
    return PairedProtocol(visits=visits, half_width=wide, max_visits=most, **bursts)


def run_options(
    target: str, arguments: RunArguments, on_note: OnNote | None = None, *, here: bool = True
) -> RunOptions:
    """Return the arguments as one value; whatever ``target`` does not have is refused.

    A target that is not ``here`` but on a farm's device need not be ready here. What the target's
    profiler cautions against goes to ``on_note``. Raises UsageError for cores that this process may
    not use, UnknownNameError for the target, InvalidValueError for the rest, UnsupportedModelError
    for a target that is not ready here.
    """
    from latprof.profilers.base import RunOptions
    from latprof.profilers.targets import check_ready, profiler_class

    unknown = sorted(arguments.keys() - RunArguments.__annotations__.keys())
    if unknown:
        raise InvalidValueError(
            f"there is no argument {unknown[0]!r}",
            field=unknown[0],
            hint=did_you_mean(unknown[0], RunArguments.__annotations__),
        )
    words = [*mode_words(arguments.get("mode") or ())]
    trials = arguments.get("tune_trials")
    if trials is not None:
        whole(1, (1 << 31) - 1).check("tune_trials", trials)
        words.append(f"tuned={trials}")
    profiler = profiler_class(target)
    cores = arguments.get("cores") or ()
    cluster = cores if isinstance(cores, str) else ""
    for core in () if cluster else cores:
        whole(0, 1 << 16).check("cores", core)
    numbers = () if cluster else tuple(sorted({int(core) for core in cores}))
    options = RunOptions(
        arguments.get("batch_size", 1),
        arguments.get("threads", 1),
        _cores_here(numbers) if here and profiler.runs_here else numbers,
        arguments.get("dtype") or "float32",
        mode_words(words),
        cluster,
    )
    if not here:
        profiler(options)  # refuses what the target does not have
        return options
    if profiler.runs_here and on_note is not None:
        _warn_of_threads(options.threads, options.cores, on_note)
    caution = profiler(options).caution
    if not profiler.clusters:  # a phone that is not there has errors of its own
        check_ready(target)
    if caution and on_note is not None:
        on_note(caution)
    return options


def mode_words(mode: str | Sequence[str]) -> tuple[str, ...]:
    """The words of an execution mode as targets have them: sorted, each by itself."""
    words = mode.split(",") if isinstance(mode, str) else mode
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        raise InvalidValueError(
            "`mode` is no text", field="mode", expected="words with commas", got=shown(mode)
        )
    return tuple(sorted(filter(None, (word.strip() for word in words))))


def _warn_of_threads(threads: int, pinned: tuple[int, ...], on_note: OnNote) -> None:
    """Say where threads of an operator have to take turns on the cores."""
    cores = len(pinned) or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ())
    if 0 < cores < threads:
        on_note(
            f"{threads} threads have {cores} core{'s' * (cores > 1)} here, so they take turns: the "
            "latency is that of threads that wait for one another"
        )


def now_and_then(on_note: OnNote | None) -> OnNote:
    """What takes lines of waiting, again and again, and hands one on every quarter of a minute."""
    last = -math.inf

    def say(text: str) -> None:
        nonlocal last
        if on_note is not None and time.monotonic() - last >= _NOTE_EVERY_S:
            last = time.monotonic()
            on_note(text)

    return say


def _cores_here(wanted: tuple[int, ...]) -> tuple[int, ...]:
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if wanted and not set(wanted) <= allowed:
        raise UsageError(
            "no such cores here",
            field="cores",
            expected=f"of {','.join(map(str, sorted(allowed)))}",
            got=",".join(map(str, wanted)),
        )
    return wanted


@contextmanager
def open_store(
    store: StoreLike, *, create: bool = False, on_wait: OnNote | None = None
) -> Iterator[Store]:
    """Open a store for the time of a ``with`` block; one that is open already stays open.

    ``on_wait`` is told where it has to wait for another process that writes.
    """
    from latprof.measurement.store.store import Store

    if isinstance(store, Store):
        yield store
        return
    with Store.open(path_text(store, "store"), create=create) as opened:
        if on_wait is not None:
            opened.on_wait = on_wait
        yield opened


def space_of(space: SpaceLike | None, **options: Any) -> SearchSpace | None:
    """The search space that is given, or made by its name; raises as :func:`latprof.get_space`."""
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.datasets.spaces.named import get_space
    from latprof.datasets.spaces.own.checked_space import checked_space

    if isinstance(space, str):
        return get_space(space, **options)
    if isinstance(space, SearchSpace):
        return checked_space(space)
    if space is not None:
        raise InvalidValueError(
            "`space` is no search space",
            field="space",
            expected="a space, its name, or MODULE:NAME",
            got=shown(space),
        )
    return None


def open_pack(pack: PackLike, space: SearchSpace | None = None) -> Pack:
    """Return the pack that is given, or read from a file or from those that come with latprof.

    Raises PackSpaceError for a pack of another search space than ``space``, where that is given.
    """
    from latprof.predictors.pack.pack import Pack
    from latprof.predictors.pack.saving import load_pack

    if not isinstance(pack, Pack):
        return load_pack(pack, space)
    if space is not None:
        pack.check_space(space)
    return pack


def open_any_pack(pack: AnyPackLike, space: SearchSpace | None = None) -> Pack | KernelPack:
    """As :func:`open_pack`, for packs of kernels too, which are of no space."""
    from latprof.predictors.pack.kernel_pack import KernelPack, load_any_pack
    from latprof.predictors.pack.pack import Pack

    if isinstance(pack, KernelPack):
        return pack
    return open_pack(pack, space) if isinstance(pack, Pack) else load_any_pack(pack, space)


def name_of(given: object) -> str:
    """What a pack, a store or a model is called: its path, or what it is."""
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    return str(getattr(given, "location", "") or getattr(given, "name", "") or given)


def network_of(
    network: NetworkLike, own: SearchSpace | None = None
) -> Path | tuple[SearchSpace, Architecture]:
    """A network to be measured: ``space:architecture`` for a space that exists, else a file.

    With ``own``, a space, what is neither an ONNX file nor any other is an architecture of it.
    Raises InvalidValueError for an architecture that is none.
    """
    from latprof.common.files import what_is_at
    from latprof.datasets.spaces.base import Architecture
    from latprof.datasets.spaces.named import get_space, space_names

    if isinstance(network, Architecture):
        return own or get_space(network.space), network
    text = path_text(network, "network")
    if own is not None and not text.endswith(".onnx") and not what_is_at(Path(text)):
        return own, own.parse(text)
    name, colon, _ = text.partition(":")
    if colon and name in space_names() and not what_is_at(Path(text)):
        space = get_space(name)
        return space, space.parse(text)
    return Path(text)


def batched_shapes(path: Path, shapes: Shapes, batch: int) -> dict[str | None, tuple[int, ...]]:
    """Shapes of a model's inputs with another batch: the first of two dimensions or more.

    Dimensions that stay without a size are left to the model's reading, which names them.
    """
    from latprof.graph.model_file import graph_inputs, read_model
    from latprof.graph.static_shapes import checked_shapes

    given = checked_shapes(shapes or {}, str(path))
    values = graph_inputs(read_model(path, data=False).graph)
    if None in given and len(values) == 1:
        given[values[0].name] = given.pop(None)
    found: dict[str | None, tuple[int, ...]] = dict(given)
    for value in values:
        dims = value.type.tensor_type.shape.dim
        own = tuple(dim.dim_value if dim.HasField("dim_value") else 0 for dim in dims)
        shape = given.get(value.name, own)
        if len(shape) > 1 and (value.name in given or 0 not in shape[1:]):
            found[value.name] = (batch, *shape[1:])
    return found


def paths_of(paths: PathLike | Sequence[PathLike], field: str = "models") -> list[Path]:
    """One path or several, as a list."""
    if isinstance(paths, str | os.PathLike) or not isinstance(paths, Iterable):
        return [Path(path_text(paths, field))]
    return [Path(path_text(each, field)) for each in paths]


def packs_of(packs: PackLike | Sequence[PackLike]) -> list[PackLike]:
    """One pack or several, as a list; nothing is read."""
    from latprof.predictors.pack.pack import Pack

    return [packs] if isinstance(packs, str | os.PathLike | Pack) else list(packs)


def source_packs(sources: Sequence[PackLike], space: SearchSpace | None = None) -> list[Pack]:
    """Open the packs of other devices, of ``space`` where that is given.

    Raises UsageError for none, PackSpaceError for packs of several spaces, and as
    :func:`~latprof.predictors.pack.saving.load_pack`.
    """
    if not sources:
        raise UsageError(
            "there is no pack to transfer from",
            field="sources",
            expected="`sources` with one pack or more",
        )
    packs = [open_pack(source, space) for source in sources]
    for pack in packs[1:]:
        packs[0].check_space(pack.space)
    return packs
