"""What latprof finds by name: search spaces, profilers, predictors and search methods.

A name leads to a ``"module:Class"``, so that listing names imports nothing. To add one to latprof,
write its module and one line in a table below. Another package adds one with an entry point, whose
name is the name and whose value is the ``"module:Class"``::

    [project.entry-points."latprof.spaces"]
    my-space = "my_package.spaces:MySpace"

The groups are ``latprof.spaces``, ``latprof.profilers``, ``latprof.predictors`` and
``latprof.searchers``. What another package gets wrong ends in an :class:`EntryPointError` that
names it, when its own name is asked for; the names of latprof are found before any entry point is
read.
"""

from __future__ import annotations

import importlib
import inspect
import numbers
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.errors import (
    EntryPointError,
    InvalidValueError,
    LatprofError,
    MissingDependencyError,
    UnknownNameError,
    UsageError,
    did_you_mean,
    shown,
    words_of,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Parameters
    ----------
    name : str
        The name that commands, packs and stores use.
    place : str
        ``"module:Class"``.
    distribution : str
        The distribution that brings it; empty for what is part of latprof.
    """

    name: str
    place: str
    distribution: str = ""


@dataclass(frozen=True)
class Registry:
    """Names of one kind of thing, those of other packages included.

    A registry is immutable, reads entry points anew at each call, and is safe to share between
    threads.

    Parameters
    ----------
    kind : str
        What its things are called in messages, such as ``"predictor"``.
    group : str
        The entry point group of other packages.
    built_in : mapping of str to str
        Name to ``"module:Class"`` of those that are part of latprof.
    special : mapping of str to str
        The same for those that need more than the others (a space made of another one, a predictor
        fitted to other predictors, a method that trains a supernet): loaded like the others, and
        listed where they are asked for.
    named_by : str
        The class attribute that holds the name.
    extra : str
        The extra of latprof that brings what the built-in modules import; empty for none.
    """

    kind: str
    group: str
    built_in: Mapping[str, str]
    special: Mapping[str, str] = field(default_factory=dict)
    named_by: str = "name"
    extra: str = ""

    def names(self, *, special: bool = False) -> list[str]:
        """Registered names, sorted; with ``special`` those too. Imports none of them."""
        found = {*self.built_in, *(entry.name for entry in self.foreign())}
        return sorted(found | set(self.special) if special else found - set(self.special))

    def __contains__(self, name: object) -> bool:
        return name in self._own or any(entry.name == name for entry in self.foreign())

    def entry(self, name: str) -> Entry:
        """Return where ``name`` leads.

        Raises
        ------
        UnknownNameError
            Where nothing has the name; it lists the names there are.
        EntryPointError
            Where several distributions have it.
        """
        if isinstance(name, str) and name in self._own:
            return Entry(name, self._own[name])
        found = [entry for entry in self.foreign() if entry.name == name]
        if not found:
            raise UnknownNameError(self.kind, str(name), self.names(special=True))
        if len(found) > 1:
            raise self._clash(name, found)
        return found[0]

    def load(self, name: str, base: type) -> Any:
        """Import and return the class that ``name`` leads to, a subclass of ``base``.

        Raises
        ------
        UnknownNameError, EntryPointError
            As :meth:`entry`; EntryPointError too where another package's module cannot be imported
            or its class is no ``base`` of that name.
        MissingDependencyError
            Where a library is missing that a module of latprof imports.
        """
        entry = self.entry(name)
        if not entry.distribution:
            return self._load_own(entry)
        found = self._load_foreign(entry)
        if not isinstance(found, type) or not issubclass(found, base):
            raise self._broken(entry, f"{entry.place} is no subclass of {base.__name__}")
        given = getattr(found, self.named_by, None)
        if given != name:
            raise self._broken(entry, f"the {self.named_by} of {entry.place} is {shown(given)}")
        return found

    def leads_to(self, name: str, found: type) -> bool:
        """Whether ``name`` is registered, and is the name of this very class."""
        if name in self._own:
            return self._own[name] == f"{found.__module__}:{found.__qualname__}"
        try:
            return self.load(name, object) is found
        except UsageError:
            return False

    def distribution(self, name: str) -> str:
        """The distribution that brings ``name``; empty for latprof's own and for unknown names."""
        if name in self._own:
            return ""
        return next((e.distribution for e in self.foreign() if e.name == name), "")

    def problems(self) -> list[EntryPointError]:
        """Entry points that nothing can use: names that are taken. Imports nothing."""
        claims: dict[str, list[Entry]] = {}
        for entry in self.foreign(taken=True):
            claims.setdefault(entry.name, []).append(entry)
        return [
            self._clash(name, found)
            for name, found in sorted(claims.items())
            if len(found) > 1 or name in self._own
        ]

    def foreign(self, *, taken: bool = False) -> Iterator[Entry]:
        """Entries of other packages; with ``taken`` also those with a name of latprof."""
        for distribution, points in _entry_points():
            for point in points:
                if point.group == self.group and (taken or point.name not in self._own):
                    yield Entry(point.name, point.value, distribution)

    # Helpers -------------------------------------------------------------------------------

    @property
    def _own(self) -> dict[str, str]:
        return {**self.built_in, **self.special}

    def _load_own(self, entry: Entry) -> Any:
        module, _, attribute = entry.place.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            library = str(error.name)
            if library.partition(".")[0] == "latprof" or not self.extra:
                raise
            raise MissingDependencyError(library, self.extra, f"{self.kind} {entry.name}") from None

    def _load_foreign(self, entry: Entry) -> Any:
        from importlib import metadata  # takes its time, and latprof's own names need none of it

        try:
            return metadata.EntryPoint(entry.name, entry.place, self.group).load()
        except ModuleNotFoundError as error:
            raise self._broken(entry, f"the module {error.name} is not installed") from error
        except LatprofError as error:
            raise self._broken(entry, str(error)) from error
        except (Exception, SystemExit) as error:  # whatever its import does
            raise self._broken(entry, words_of(error)) from error

    def _broken(self, entry: Entry, reason: str) -> EntryPointError:
        return EntryPointError(
            f"{self.kind} {entry.name!r} of {entry.distribution} cannot be loaded: {reason}",
            entry.distribution,
            hint=f"update or uninstall {entry.distribution}",
        )

    def _clash(self, name: str, found: Collection[Entry]) -> EntryPointError:
        who = ", ".join(sorted({entry.distribution for entry in found}))
        owner = "latprof has" if name in self._own else "several distributions have"
        return EntryPointError(
            f"{who}: {owner} a {self.kind} of the name {name!r}",
            who,
            hint=f"the entry point in the group {self.group} needs another name",
        )


SPACES = Registry(
    kind="space",
    group="latprof.spaces",
    built_in={
        "fbnet": "latprof.datasets.spaces.fbnet:FBNetSpace",
        "mnasnet": "latprof.datasets.spaces.mnasnet:MnasNetSpace",
        "nasbench-macro": "latprof.datasets.spaces.nasbench_macro:NASBenchMacroSpace",
        "nasbench201": "latprof.datasets.spaces.nasbench201:NASBench201Space",
        "ofa-mobilenetv3": "latprof.datasets.spaces.ofa_mobilenetv3:OFAMobileNetV3Space",
        "proxyless": "latprof.datasets.spaces.proxyless:ProxylessSpace",
        "proxyless-cifar": "latprof.datasets.spaces.proxyless_cifar:ProxylessCifarSpace",
        "uninet": "latprof.datasets.spaces.uninet:UniNetSpace",
    },
    special={
        "mixed-precision": "latprof.datasets.spaces.variants.mixed_precision:MixedPrecisionSpace"
    },
)

#: Capitals stand for a device's address: ``cuda:N:torch`` is the pattern of ``cuda:0:torch``.
PROFILERS = Registry(
    kind="target",
    group="latprof.profilers",
    built_in={
        "adb:SERIAL:benchmark-model": (
            "latprof.profilers.runtimes.android.measuring.adb_benchmark_model:AdbBenchmarkModel"
        ),
        "adb:SERIAL:litert": "latprof.profilers.runtimes.android.measuring.adb_litert:AdbLiteRT",
        "adb:SERIAL:onnxruntime": (
            "latprof.profilers.runtimes.android.measuring.adb_onnxruntime:AdbOnnxRuntime"
        ),
        "cpu:litert": "latprof.profilers.runtimes.cpu.cpu_litert:CpuLiteRT",
        "cpu:onnxruntime": "latprof.profilers.runtimes.cpu.cpu_onnxruntime:CpuOnnxRuntime",
        "cpu:openvino": "latprof.profilers.runtimes.cpu.cpu_openvino:CpuOpenVINO",
        "cpu:torch": "latprof.profilers.runtimes.cpu.cpu_torch:CpuTorch",
        "cpu:tvm": "latprof.profilers.runtimes.tvm.cpu_tvm:CpuTVM",
        "cuda:N:onnxruntime": "latprof.profilers.runtimes.cuda.cuda_onnxruntime:CudaOnnxRuntime",
        "cuda:N:tensorrt": "latprof.profilers.runtimes.cuda.cuda_tensorrt:CudaTensorRT",
        "cuda:N:torch": "latprof.profilers.runtimes.cuda.cuda_torch:CudaTorch",
        "ssh:HOST:litert": "latprof.profilers.runtimes.ssh.ssh_profiler:SshLiteRT",
        "ssh:HOST:onnxruntime": "latprof.profilers.runtimes.ssh.ssh_profiler:SshOnnxRuntime",
        "tvm-rpc:HOST:PORT/KEY": "latprof.profilers.runtimes.tvm.tvm_rpc:RemoteTVM",
    },
    named_by="spelling",
)

PREDICTORS = Registry(
    kind="predictor",
    group="latprof.predictors",
    built_in={
        "hybrid": "latprof.predictors.models.hybrid:HybridPredictor",
        "linear": "latprof.predictors.models.linear:LinearPredictor",
        "lookup-table": "latprof.predictors.models.lookup_table_predictor:LookupTablePredictor",
        "xgboost": "latprof.predictors.models.boosted_trees:XGBoostPredictor",
    },
    special={"transfer": "latprof.predictors.models.transfer_predictor:TransferPredictor"},
)

SEARCHERS = Registry(
    kind="search method",
    group="latprof.searchers",
    built_in={
        "evolution": "latprof.searchers.evaluating.evolution:EvolutionSearch",
        "mnas": "latprof.searchers.evaluating.mnas:MnasSearch",
        "netadapt": "latprof.searchers.evaluating.netadapt:NetAdaptSearch",
        "nsga2": "latprof.searchers.evaluating.nsga2:NSGA2Search",
        "random": "latprof.searchers.evaluating.random_search:RandomSearch",
    },
    special={
        "fbnet": "latprof.searchers.differentiable.fbnet:FBNetSearch",
        "lightnas": "latprof.searchers.differentiable.lightnas:LightNAS",
        "proxyless-g": "latprof.searchers.differentiable.proxyless:ProxylessG",
        "proxyless-r": "latprof.searchers.differentiable.proxyless:ProxylessR",
    },
    extra="search",
)

#: latprof's own handlers are in :mod:`latprof.graph.work`; a name is ``"domain:Type"``.
OPERATORS = Registry(kind="operator", group="latprof.operators", built_in={})

REGISTRIES = (SPACES, PROFILERS, PREDICTORS, SEARCHERS, OPERATORS)


def entry_point_problems() -> list[EntryPointError]:
    """What is wrong with other packages' entry points of the five groups. Imports nothing."""
    return [problem for registry in REGISTRIES for problem in registry.problems()]


def registered_roots() -> set[str]:
    """The outermost packages of what other packages add to the five groups. Imports nothing.

    A class of latprof may have a name more; what goes wrong in it is latprof's fault all the same.
    """
    entries = (entry for registry in REGISTRIES for entry in registry.foreign())
    return {re.split("[.:]", entry.place)[0] for entry in entries} - {__name__.split(".")[0]}


def _entry_points() -> Sequence[tuple[str, Sequence[EntryPoint]]]:
    """Each installed distribution that adds to a group, with its entry points.

    One that cannot be read has none. They are read again when a folder of the path changes: to do
    so for every name takes longer than a visit of a small network.
    """
    return _read_entry_points(tuple((place, _changed_at(place)) for place in sys.path))


def _changed_at(place: str) -> int:
    try:
        return Path(place).stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


@lru_cache(maxsize=8)  # the path is longer while code of one's own runs
def _read_entry_points(
    _path: tuple[tuple[str, int], ...],
) -> Sequence[tuple[str, Sequence[EntryPoint]]]:
    from importlib import metadata

    read: dict[str, tuple[str, Sequence[EntryPoint]]] = {}
    for found in metadata.distributions():
        try:
            if "[latprof." not in (found.read_text("entry_points.txt") or ""):
                continue
            name = str(found.metadata["Name"])
            key = re.sub(r"[-_.]+", "-", name).lower()
            if key not in read:  # the first on the path is the one that is imported
                read[key] = name, tuple(metadata.distribution(name).entry_points)
        except Exception:  # noqa: BLE001, S112 - another package's malformed files
            continue
    return tuple(read.values())


# Options -----------------------------------------------------------------------------------


def make(what: str, factory: Callable[..., Any], options: Mapping[str, Any], *given: object) -> Any:
    """Call ``factory(*given, **options)`` after checking the options.

    Parameters
    ----------
    what : str
        What is made, for messages: ``"space proxyless"``.
    factory : callable
        A class with its options as arguments of ``__init__``; what it takes as ``**options`` are
        those of its base class.
    options : mapping of str to object
    *given : object
        Positional arguments that are no options.

    Raises
    ------
    InvalidValueError
        For an option that does not exist, one that is missing, one of another type than its
        default, and a value that the class refuses.
    """
    known = dict(list(_parameters(factory).items())[len(given) :])
    for option, value in options.items():
        if option not in known:
            raise InvalidValueError(
                f"{what} has no option {option!r}",
                field=option,
                expected=", ".join(known) or "none",
                hint=did_you_mean(option, known),
            )
        _check_type(what, known[option], value)
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise InvalidValueError(f"{what} needs the option {option!r}", field=option)
    try:
        return factory(*given, **options)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidValueError(f"{what}: {error}") from None


def option_names(factory: Callable[..., Any], given: int = 0) -> list[str]:
    """Names of the options of a class but for its first ``given`` arguments."""
    return list(_parameters(factory))[given:]


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters of ``__init__``, with those of the base that it hands ``**options`` on to."""
    if not isinstance(factory, type):
        return dict(inspect.signature(factory).parameters)
    found: dict[str, inspect.Parameter] = {}
    for owner in factory.__mro__:
        if "__init__" not in vars(owner) or owner is object:
            continue
        own = list(inspect.signature(vars(owner)["__init__"]).parameters.values())[1:]
        open_ended = any(p.kind is p.VAR_KEYWORD for p in own)
        found |= {
            p.name: p
            for p in own
            if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL} and p.name not in found
        }
        if not open_ended:
            break
    return found


def _check_type(what: str, parameter: inspect.Parameter, value: object) -> None:
    annotation = str(parameter.annotation)
    if value is None and "None" in annotation:
        return
    any_length = "..." in annotation or "Sequence" in annotation
    if not _fits(value, parameter.default, any_length=any_length):
        raise InvalidValueError(
            f"option {parameter.name!r} of {what} is of another type",
            field=parameter.name,
            expected=f"such as {parameter.default!r}",
            got=shown(value, 100),
        )


def _fits(value: Any, default: object, *, any_length: bool = False) -> bool:
    """Whether a value is of the type of a default; anything is where the default tells none."""
    match default:
        case bool() | str():
            fits = type(value) is type(default)
        case int():
            fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        case float():
            number = isinstance(value, numbers.Real) and not isinstance(value, bool)
            fits = number and abs(value) <= sys.float_info.max  # a whole number may have no float
        case tuple():
            fits = isinstance(value, tuple | list)
            if fits and any_length:
                fits = all(_fits(entry, default[0]) for entry in value)
            elif fits:
                fits = len(value) == len(default) and all(map(_fits, value, default))
        case _:
            fits = True
    return fits
