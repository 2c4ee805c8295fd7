"""Predicting the latency of networks from a pack."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union, overload

from latprof.common.limits import INNER_SHARE, Limit
from latprof.errors import (
    CoverageError,
    InvalidValueError,
    LatprofError,
    TargetMismatchError,
    UsageError,
)
from latprof.predictors.pack.shipped import DEFAULT_PACK, pack_names
from latprof.workflows.arguments import NetworkLike, PackLike, Shapes, name_of, open_pack

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture
    from latprof.graph.operators import Network
    from latprof.predictors.pack.answering import Answer
    from latprof.predictors.pack.pack import Pack

_THREADS = Limit(1, 1024, whole=True, optional=True)

#: What can be predicted: what can be measured, and a network that was read already.
Predictable: TypeAlias = Union[NetworkLike, "Network"]
#: Called with what a network is called and why it cannot be predicted.
OnError: TypeAlias = Callable[[str, LatprofError], None]


@overload
def predict(  # type: ignore[overload-overlap] # text is a sequence of text, and one network
    networks: Predictable,
    pack: PackLike | None = ...,
    *,
    target: str | None = ...,
    threads: int | None = ...,
    shapes: Shapes = ...,
    strict: bool = ...,
    upper: float | None = ...,
) -> Answer: ...
@overload
def predict(
    networks: Sequence[Predictable],
    pack: PackLike | None = ...,
    *,
    target: str | None = ...,
    threads: int | None = ...,
    shapes: Shapes = ...,
    strict: bool = ...,
    upper: float | None = ...,
    on_error: OnError | None = ...,
) -> list[Answer]: ...
def predict(
    networks: Predictable | Sequence[Predictable],
    pack: PackLike | None = None,
    *,
    target: str | None = None,
    threads: int | None = None,
    shapes: Shapes = None,
    strict: bool = False,
    upper: float | None = None,
    on_error: OnError | None = None,
) -> Answer | list[Answer]:
    """Predict the latency of networks from a pack, without running them.

    A model of the pack's search space is recognised by its operators, whoever exported it. Any
    other is a guess: a sum over its operators, without an interval, with the coverage, which is the
    share of the sum from operators that the pack's measurements know.

    Parameters
    ----------
    networks : path, Architecture, its spelling, or Network; or a sequence of them
        A sequence gives a list.
    pack : Pack, path or str, optional
        Of a file, or the name of a pack that comes with latprof; ``"proxyless-cpu-ort1"`` unless
        given, or the first that comes with latprof for ``target`` and ``threads``.
    target : str, optional
        The pack must hold for this target, such as ``"cpu:onnxruntime"``.
    threads : int, optional
        The pack must hold for so many threads inside an operator.
    shapes : mapping of str to sequence of int, optional
        Shapes of the models' inputs whose own are dynamic.
    strict : bool
        Refuse a model with operators outside the range of the training data.
    upper : float, optional
        A share such as 0.95: also give the latency that measurements stay below with this
        probability.
    on_error : callable, optional
        For a sequence: called for each network that cannot be predicted, which the list then lacks;
        without it the first such error is raised.

    Raises
    ------
    PackError, UnknownNameError
        For the pack, and a target that does not exist.
    TargetMismatchError
        For a pack of another target, or another number of threads.
    UsageError
        Where no pack that comes with latprof holds for them.
    InvalidValueError, ModelFileError, DynamicShapeError
        For a network that cannot be read, or is neither a file nor an architecture.
    CoverageError
        With ``strict``.
    PackSpaceError
        For a model outside the search space of a pack that knows nothing else.
    """
    from latprof.datasets.spaces.base import Architecture
    from latprof.graph.guarded.inference import start_early
    from latprof.graph.operators import Network

    if upper is not None:
        INNER_SHARE.check("`upper`", upper)
    single = isinstance(networks, str | os.PathLike | Architecture | Network)
    listed: list[Predictable] = [networks] if single else list(networks)  # type: ignore[list-item, arg-type]
    if any(isinstance(each, str | os.PathLike) and Path(each).suffix == ".onnx" for each in listed):
        start_early()
    loaded = pack_for(pack, target, threads)
    if single:
        (answer,) = _predict_all(loaded, listed, shapes, None, strict=strict, upper=upper)
        return answer
    return _predict_all(loaded, listed, shapes, on_error, strict=strict, upper=upper)


def pack_for(pack: PackLike | None, target: str | None = None, threads: int | None = None) -> Pack:
    """Open the pack that is given, or one that comes with latprof, and check what it holds for.

    Raises as :func:`predict`.
    """
    _THREADS.check("threads", threads)
    if target is not None:
        from latprof.profilers.targets import profiler_class

        profiler_class(target)  # refuses what is none; nothing needs to be installed
    if pack is not None:
        loaded = open_pack(pack)
        wrong = _other_than_asked(loaded, target, threads)
        if wrong:
            raise TargetMismatchError(
                f"the pack {name_of(pack)} holds for another target",
                expected=wrong,
                got="unknown" if loaded.target is None else loaded.target.describe(),
                hint="leave out the pack for one that comes with latprof",
            )
        return loaded
    if target is None and threads is None:
        return open_pack(DEFAULT_PACK)
    loaded_packs = [open_pack(name) for name in sorted(pack_names(), key=DEFAULT_PACK.__ne__)]
    for loaded in loaded_packs:
        if not _other_than_asked(loaded, target, threads):
            return loaded
    held = {f"{p.target.spelling} ({p.target.threads} thread)" for p in loaded_packs if p.target}
    wanted = target or f"{threads} threads"
    raise UsageError(
        f"no pack for {wanted} comes with latprof",
        field="target" if target else "threads",
        expected=f"one of {', '.join(sorted(held)).replace('2 thread', '2 threads')}",
        hint=f"{_install(target)}make one: latprof collect --space proxyless --ops "
        f"--target {target or '...'} --store lat.db; latprof train lat.db --output my.pack; then "
        "give it as `pack`",
    )


def _install(target: str | None) -> str:
    """What to do first where a target is not ready here; empty for nothing."""
    from latprof.profilers.targets import profiler_class

    found = None if target is None else profiler_class(target).availability()
    if found is None or found.state == "ready":
        return ""
    return f"{found.detail}: {found.remedy or 'measure on another host'}; then "


def _other_than_asked(pack: Pack, target: str | None, threads: int | None) -> str:
    """What was asked for and is not so, in words; empty where all is."""
    found = pack.target
    asked = {
        f"{target}": target is None or (found is not None and found.spelling == target),
        f"{threads} threads": threads is None or (found is not None and found.threads == threads),
    }
    return ", ".join(words for words, so in asked.items() if not so)


def _predict_all(
    pack: Pack,
    networks: Sequence[Predictable],
    shapes: Shapes,
    on_error: OnError | None,
    *,
    strict: bool,
    upper: float | None,
) -> list[Answer]:
    """Architectures in one batch, models one by one; the answers in the order of the networks."""
    from latprof.datasets.spaces.base import Architecture
    from latprof.predictors.pack.answering import predict_architectures, predict_network

    answers: dict[int, Answer] = {}
    batch: dict[int, Architecture] = {}
    several = len(networks) > 1 and any(name is not None for name in shapes or {})
    unused = {name for name in shapes or {} if name is not None} if several else set()
    for row, network in enumerate(networks):
        with _one_among_many(name_of(network), on_error):
            found = _read(
                pack, network, _shapes_for(network, shapes, unused) if several else shapes
            )
            if isinstance(found, Architecture):
                batch[row] = found
            else:
                name = name_of(network)
                answers[row] = predict_network(pack, found, name, strict=strict, upper=upper)
    if unused and answers:
        name = min(map(str, unused))
        raise InvalidValueError(f"no model has an input {name!r}", field="shapes")
    try:
        found_all = predict_architectures(pack, [*batch.values()], upper=upper)
        answers.update(zip(batch, found_all, strict=True))
    except CoverageError:
        for row, architecture in batch.items():
            with _one_among_many(str(architecture), on_error):
                (answers[row],) = predict_architectures(pack, [architecture], upper=upper)
    return [answers[row] for row in sorted(answers)]


def _shapes_for(network: Predictable, shapes: Shapes, unused: set[str]) -> Shapes:
    """Of several models' shapes those that name an input of this one; they are not unused then."""
    from latprof.graph.model_file import graph_inputs, read_model

    if not isinstance(network, str | os.PathLike) or Path(network).suffix != ".onnx":
        return None
    names = {value.name for value in graph_inputs(read_model(network, data=False).graph)}
    unused.difference_update(names)
    return {name: shape for name, shape in (shapes or {}).items() if name in {None, *names}}


@contextmanager
def _one_among_many(name: str, on_error: OnError | None) -> Iterator[None]:
    try:
        yield
    except LatprofError as error:
        if on_error is None:
            raise
        on_error(name, error)


def _read(pack: Pack, network: Predictable, shapes: Shapes) -> Architecture | Network:
    """The architecture that is spelled, or the graph that a file holds."""
    from latprof.common.files import what_is_at
    from latprof.datasets.spaces.base import Architecture
    from latprof.graph.operators import Network
    from latprof.graph.reader import read_network

    if isinstance(network, Architecture | Network):
        return network
    path, space = Path(network), pack.predictor.space
    if path.suffix == ".onnx" or what_is_at(path):
        return read_network(path, shapes=shapes or None)
    text = os.fspath(network)
    try:
        return space.parse(text)
    except InvalidValueError as error:
        raise InvalidValueError(
            f"{text[:200]!r} is neither a file nor an architecture of {space.name}: {error}"
        ) from None
