"""The contract of a profiler: all that a runtime has to provide to be measured.

A profiler loads a model, runs it n times and returns n durations, and may break a run down into
kernels. The paired protocol, the store, resume and statistics are written once, above it.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from latprof.common.limits import check_limits, whole
from latprof.errors import DeviceError, InvalidValueError, did_you_mean
from latprof.measurement.protocol import LoadedModel, run_each
from latprof.measurement.quiet.conditions import read_conditions
from latprof.measurement.records import Target

if TYPE_CHECKING:
    from latprof.common.children.child import Child
    from latprof.graph.input_values.input_rules import Rules
    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import KernelTime
    from latprof.profilers.host.checks import Check

#: The module that measuring processes run; each has one profiler.
WORKER_MODULE = "latprof.profilers.visits.worker"
#: See :attr:`Profiler.networks_per_process`; right where a start takes a second.
NETWORKS_PER_PROCESS = 100


_LIMITS = {"batch_size": whole(1, 1 << 20), "threads": whole(1, 1024)}


@dataclass(frozen=True)
class RunOptions:
    """How networks run on a target; part of its identity.

    Parameters
    ----------
    batch_size : int
        Images a run, for networks that latprof builds; a user's model brings its own.
    threads : int
        Threads inside an operator.
    cores : tuple of int
        Cores of the device to run on; empty leaves it to the scheduler, or to ``cluster``.
    cluster : str
        One of the profiler's ``clusters`` in place of numbers; the target's identity has numbers.
    precision : str
        Numbers that the runtime computes with, one of the profiler's ``precisions``.
    mode : tuple of str
        Words of the profiler's ``modes``: the execution mode, beyond the runtime's defaults.
    """

    batch_size: int = 1
    threads: int = 1
    cores: tuple[int, ...] = ()
    precision: str = "float32"
    mode: tuple[str, ...] = ()
    cluster: str = ""

    def __post_init__(self) -> None:
        check_limits(self, _LIMITS)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain JSON values."""
        return asdict(self) | {"cores": list(self.cores), "mode": list(self.mode)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunOptions:
        """Rebuild options from :meth:`to_dict`."""
        return cls(**{**values, "cores": tuple(values["cores"]), "mode": tuple(values["mode"])})

    @classmethod
    def of_target(cls, target: Target) -> RunOptions:
        """The options that a measured target was run with."""
        cores = tuple(int(core) for core in target.cores.split(",") if core)
        mode = tuple(word for word in target.mode.split(",") if word)
        return cls(target.batch_size, target.threads, cores, target.precision, mode)


@dataclass(frozen=True)
class Availability:
    """Whether a profiler can measure here.

    ``state`` is ``"ready"`` or ``"missing"``; ``detail`` says what is there, or what is not;
    ``remedy`` what to install.
    """

    state: Literal["ready", "missing"]
    detail: str
    remedy: str = ""


class ProfiledModel(LoadedModel, Protocol):
    """A network that runs with the runtime's profiler on."""

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """End profiling; return one run's kernels in order, each the median over the counted runs.

        ``counted`` are numbers of runs, from 0 for the first after loading.
        """
        ...


class MeasuringHost(Protocol):
    """Another computer, on which a target's measuring processes run."""

    @property
    def name(self) -> str:
        """What it is called in the names of measuring processes."""
        ...

    @property
    def target(self) -> str:
        """The target's spelling there."""
        ...

    def look(self) -> tuple[Check, ...]:
        """Judge what happens there now, as :func:`latprof.profilers.host.host_report.look`."""
        ...

    def start(self, stderr: IO[bytes], timeout_s: float) -> Child:
        """Start a measuring process, which reads and answers as one here does.

        Its requests may bring files (:func:`latprof.profilers.visits.sending.sent`). Raises
        DeviceError.
        """
        ...

    def lost(self, child: Child, stderr: IO[bytes]) -> DeviceError:
        """Why a measuring process has ended before it answered."""
        ...


class Profiler(ABC):
    """Runs models on one device through one runtime.

    Subclasses set :attr:`spelling` and implement :meth:`availability`, :meth:`target` and
    :meth:`load`; :meth:`load_profiled` too where the runtime can time kernels.
    :class:`latprof.testing.ProfilerContract` checks what follows.

    Threads: a profiler lives in a measuring process of its own
    (:mod:`latprof.profilers.visits.worker`) and is used by one thread. It may assume that nothing
    else of latprof runs there. Only :meth:`prepare` may be called by another process, where
    :attr:`prepares_ahead` says so.

    Ownership: each loaded model belongs to the caller and lives until it is dropped. At least two
    live side by side, and running one does not disturb the other. A profiler changes no global
    state but that of its runtime.

    Errors: UnsupportedModelError for a model that is malformed or that the runtime refuses;
    RuntimeFailedError where a runtime fails that had loaded it; DeviceError where the device is
    gone or cannot do what was asked. After each of them the next model can be loaded. Any other
    exception counts as a failure of the process. :meth:`availability` and :meth:`target` load no
    runtime and raise nothing for a device that is absent.
    """

    #: What the command line takes: device and runtime.
    spelling: ClassVar[str] = ""
    #: The input of random numbers starts from this seed, the same for every load.
    input_seed: ClassVar[int] = 0
    #: Rules for the values of the inputs of the model that is loaded next, by their names
    #: (:func:`latprof.profilers.runtimes.model_inputs.random_inputs` follows them). Whoever loads
    #: a model sets them before; each load reads them at once.
    input_rules: Rules = MappingProxyType({})
    #: Numbers that the runtime can compute with, the default first.
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    #: Words that ``options.mode`` takes, each with what it does. A word that ends in ``=`` takes a
    #: whole number: ``"tuned="`` allows ``"tuned=64"``.
    modes: ClassVar[Mapping[str, str]] = {}
    #: Networks that are visited before a fresh measuring process takes over: each process has a
    #: bias of its own (memory layout) that can only be estimated where several processes share the
    #: work. Many more where a start is expensive and the bias small.
    networks_per_process: ClassVar[int] = NETWORKS_PER_PROCESS
    #: Whether networks run on this host's cores, which others may take away: then each network is
    #: measured against a reference of its size (:mod:`latprof.profilers.visits.references`).
    runs_on_host: ClassVar[bool] = False
    #: Groups of words; of each at most one is taken.
    exclusive_modes: ClassVar[tuple[frozenset[str], ...]] = ()
    #: Words for cores, where the device's differ: ``options.cluster``.
    clusters: ClassVar[tuple[str, ...]] = ()
    #: Whether ``options.cores`` are this computer's, so that the measuring process is pinned, and
    #: this computer's other work disturbs it.
    runs_here: ClassVar[bool] = True
    #: Whether :meth:`at` takes an empty address, for the only device of its kind.
    address_optional: ClassVar[bool] = False
    #: Whether a file is a model that the runtime itself reads, beside ONNX; by its last letters.
    own_formats: ClassVar[tuple[str, ...]] = ()
    #: Whether the weights of the model that is loaded next are random, as those of a space's
    #: networks are: others of the same scale will do. Set before each load, as the rules are.
    random_weights: bool = False
    #: Names the network that is loaded next where its model is made anew for each load, from this
    #: name alone; empty for files. Set as ``random_weights`` is.
    network_key: str = ""
    #: Takes what is waited for; set in measuring processes, where a device that was there before is
    #: waited for when it is lost.
    report: Callable[[str], None] | None = None
    #: How often the runtime's process on the device was started anew since this one began.
    restarts: int = 0

    def __init__(self, options: RunOptions) -> None:
        if options.precision not in self.precisions:
            raise InvalidValueError(
                f"{self.spelling} does not support this dtype",
                field="precision",
                expected=", ".join(self.precisions),
                got=options.precision,
                hint=did_you_mean(options.precision, self.precisions),
            )
        if options.cluster and options.cluster not in self.clusters:
            raise InvalidValueError(
                f"{self.spelling} has no such cores",
                field="cores",
                expected=" or ".join((*self.clusters, "numbers with commas")),
                got=options.cluster,
                hint=did_you_mean(options.cluster, self.clusters),
            )
        _check_mode(self, options.mode)
        self.options = options

    @classmethod
    def at(cls, address: str) -> type[Self]:
        """The profiler of one device among several of its kind, whose spelling has ``address``.

        ``"1"`` for ``cuda:1:torch``. Raises InvalidValueError for what is no address.
        """
        raise InvalidValueError(f"{cls.spelling} has no addresses", got=address)

    @property
    def caution(self) -> str:
        """What whoever reads the results should know first, in one line; empty for nothing."""
        return ""

    def mode_number(self, word: str) -> int | None:
        """The number given with the mode ``word``, which ends in ``=``; None where it is not."""
        given = [text.removeprefix(word) for text in self.options.mode if text.startswith(word)]
        return int(given[0]) if given else None

    @classmethod
    @abstractmethod
    def availability(cls) -> Availability:
        """Say whether this profiler can measure here, without loading its runtime."""

    @abstractmethod
    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        """Return the identity of what this profiler measures, without loading its runtime."""

    def identity(
        self,
        device: str,
        device_name: str,
        runtime: str,
        runtime_version: str,
        input_shape: tuple[int, ...] | None,
    ) -> Target:
        """The target of this device and runtime under the profiler's options."""
        return Target(
            device,
            device_name,
            runtime,
            runtime_version,
            self.options.precision,
            self.options.batch_size,
            self.options.threads,
            input_shape,
            ",".join(map(str, self.options.cores)),
            ",".join(self.options.mode),
        )

    @abstractmethod
    def load(self, model: ModelSource) -> LoadedModel:
        """Load an ONNX model and make its input: random numbers, or what :attr:`input_rules` say.

        A path is for models whose weights lie in files beside them. Raises UnsupportedModelError
        where the runtime refuses it.
        """

    @property
    def measuring_host(self) -> MeasuringHost | None:
        """The computer that measuring processes run on; None for this one."""
        return None

    @property
    def prepares_ahead(self) -> bool:
        """Whether another process may :meth:`prepare` a network during a visit without harm to it.

        True where only the device's own time counts.
        """
        return False

    def prepare(self, model: ModelSource) -> Callable[[], LoadedModel]:
        """Do of :meth:`load` what needs no device; what is returned does the rest.

        Both raise as :meth:`load`.
        """
        return partial(self.load, model)

    def own_spelling(self) -> str:
        """The spelling of this very device, where :attr:`spelling` leaves it to chance."""
        return self.spelling

    @contextlib.contextmanager
    def occupied(self, report: Callable[[str], None]) -> Iterator[None]:  # noqa: ARG002
        """What holds from the first measuring process to the end of the last; nothing here.

        Entered once, by the process that starts the measuring ones: where one latprof at a time may
        use a device, or the device is prepared and put back. ``report`` takes what is waited for.
        """
        yield

    def surroundings(self) -> dict[str, Any]:
        """``facts`` and ``checks`` of the device, as a campaign keeps them; empty for this host."""
        return {}

    def settle(  # noqa: B027 - nothing is to be waited for on most devices
        self, report: Callable[[str], None], idle: Callable[[], bool]
    ) -> None:
        """Wait, before a visit, until the device is fit to be measured, such as cool enough.

        ``report`` takes what is waited for, again and again; ``idle`` does a part of what is useful
        meanwhile, and returns whether there was any. Raises DeviceError where it stays unfit.
        Nothing here.
        """

    def prepared_before(self) -> Callable[[], LoadedModel] | None:
        """What :meth:`prepare` of the network :attr:`network_key` would return, kept from before.

        None where nothing is kept, so that the model has to be made.
        """
        return None

    def prefetch(self, model: ModelSource) -> None:  # noqa: B027 - nor here
        """Bring a model to the device that is loaded later. Raises as :meth:`load`."""

    def run_bursts(self, bursts: Sequence[tuple[LoadedModel, int]]) -> Sequence[Sequence[float]]:
        """Run bursts of models that this profiler loaded back to back; durations in ms of each.

        One call is a whole paired cycle: a device at the end of a cable gets it in one piece.
        """
        return run_each(bursts)

    def cycle_details(self) -> Mapping[str, Any]:
        """What else is known of the runs of the last :meth:`run_bursts`, for the visit's record."""
        return {}

    def conditions(self) -> dict[str, float]:
        """The state of what the networks run on, read just before and after the timed runs.

        Names as in :func:`latprof.measurement.quiet.conditions.read_conditions`, which is what a
        profiler of this host has; another device reports its own. What is not there disturbs no
        visit.
        """
        return read_conditions()

    def disturbances(
        self,
        before: Mapping[str, float],  # noqa: ARG002 - of the contract
        after: Mapping[str, float],  # noqa: ARG002
    ) -> tuple[str, ...]:
        """What of two readings of :meth:`conditions` disturbed the visit between them.

        Names, for example ``"gpu-load"``; none here. The host's own readings are judged for every
        profiler (:func:`latprof.measurement.disturbance.disturbances`).
        """
        return ()

    def load_profiled(self, model: ModelSource) -> ProfiledModel:  # noqa: ARG002 - of the contract
        """Load an ONNX model with the runtime's own profiler on.

        Raises DeviceError where the runtime has no times of single kernels, else as :meth:`load`.
        """
        raise DeviceError(
            f"{self.spelling} does not report per-kernel times",
            hint="another runtime of the device may: `latprof devices`",
        )


def mode_names(problem: str, known: Collection[str], mode: Sequence[str]) -> list[str]:
    """The names of an execution mode's words, numbers aside.

    Raises InvalidValueError, which says ``problem``, for a word that is not among ``known``.
    """
    names = []
    for word in mode:
        name, equals, number = word.partition("=")
        name += equals
        has_number = number.isascii() and number.isdigit() and len(number) < 11
        if name not in known or (equals and not (has_number and 0 < int(number) < 1 << 31)):
            raise InvalidValueError(
                problem,
                field="mode",
                expected=", ".join(f"{key}N" if key.endswith("=") else key for key in known)
                or "none: it runs networks in one way only",
                got=word,
                hint=did_you_mean(name, known),
            )
        names.append(name)
    return names


def _check_mode(profiler: Profiler, mode: Sequence[str]) -> None:
    names = mode_names(f"{profiler.spelling} has no such mode", profiler.modes, mode)
    groups = [group for group in profiler.exclusive_modes if len(group.intersection(names)) > 1]
    if len(names) != len(set(names)) or groups:
        raise InvalidValueError(
            f"{profiler.spelling} runs in one of these modes at a time",
            field="mode",
            expected=" or ".join(sorted(groups[0])) if groups else "each word once",
            got=",".join(mode),
            hint="leave the others out",
        )
