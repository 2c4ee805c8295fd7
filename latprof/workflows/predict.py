"""Predicting the latency of networks from a pack."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union, overload

from latprof.common.limits import INNER_SHARE
from latprof.errors import CoverageError, InvalidValueError, LatprofError
from latprof.predictors.pack.shipped import DEFAULT_PACK
from latprof.workflows.arguments import NetworkLike, PackLike, Shapes, name_of, open_pack

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture
    from latprof.graph.operators import Network
    from latprof.predictors.pack.answering import Answer
    from latprof.predictors.pack.pack import Pack

#: What can be predicted: what can be measured, and a network that was read already.
Predictable: TypeAlias = Union[NetworkLike, "Network"]
#: Called with what a network is called and why it cannot be predicted.
OnError: TypeAlias = Callable[[str, LatprofError], None]


@overload
def predict(  # type: ignore[overload-overlap] # text is a sequence of text, and one network
    networks: Predictable,
    pack: PackLike = ...,
    *,
    shapes: Shapes = ...,
    strict: bool = ...,
    upper: float | None = ...,
) -> Answer: ...
@overload
def predict(
    networks: Sequence[Predictable],
    pack: PackLike = ...,
    *,
    shapes: Shapes = ...,
    strict: bool = ...,
    upper: float | None = ...,
    on_error: OnError | None = ...,
) -> list[Answer]: ...
def predict(
    networks: Predictable | Sequence[Predictable],
    pack: PackLike = DEFAULT_PACK,
    *,
    shapes: Shapes = None,
    strict: bool = False,
    upper: float | None = None,
    on_error: OnError | None = None,
) -> Answer | list[Answer]:
    """Predict the latency of networks from a pack, without running them.

    A model of the pack's search space is recognised by its shapes, whoever exported it. Any other
    is predicted as a sum over its operators, with the coverage: the share of its work that is
    within the range of the training data.

    Parameters
    ----------
    networks : path, Architecture, its spelling, or Network; or a sequence of them
        A sequence gives a list.
    pack : Pack, path or str
        Of a file, or the name of a pack that comes with latprof.
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
        For the pack.
    InvalidValueError, ModelFileError, DynamicShapeError
        For a network that cannot be read, or is neither a file nor an architecture.
    CoverageError
        With ``strict``.
    PackSpaceError
        For a model outside the search space of a pack that knows nothing else.
    """
    from latprof.datasets.spaces.base import Architecture
    from latprof.graph.operators import Network

    if upper is not None:
        INNER_SHARE.check("`upper`", upper)
    loaded = open_pack(pack)
    if isinstance(networks, str | os.PathLike | Architecture | Network):
        (answer,) = _predict_all(loaded, [networks], shapes, None, strict=strict, upper=upper)
        return answer
    return _predict_all(loaded, list(networks), shapes, on_error, strict=strict, upper=upper)


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
    for row, network in enumerate(networks):
        with _one_among_many(name_of(network), on_error):
            found = _read(pack, network, shapes)
            if isinstance(found, Architecture):
                batch[row] = found
            else:
                name = name_of(network)
                answers[row] = predict_network(pack, found, name, strict=strict, upper=upper)
    try:
        found_all = predict_architectures(pack, [*batch.values()], upper=upper)
        answers.update(zip(batch, found_all, strict=True))
    except CoverageError:
        for row, architecture in batch.items():
            with _one_among_many(str(architecture), on_error):
                (answers[row],) = predict_architectures(pack, [architecture], upper=upper)
    return [answers[row] for row in sorted(answers)]


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
