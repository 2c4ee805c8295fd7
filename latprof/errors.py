"""Every exception that latprof raises on purpose, as one tree.

::

    LatprofError                          code             exit status
    ├── UsageError                        usage            2
    │   ├── UnknownNameError              unknown-name     2
    │   ├── InvalidValueError             invalid-value    2
    │   │   └── UnreachableLimitError     unreachable-limit 1
    │   ├── MissingDependencyError        missing-extra    2
    │   ├── EntryPointError               entry-point      2
    │   ├── OwnCodeError                  own-code         2
    │   ├── TargetMismatchError           target-mismatch  2
    │   └── OutputPathError               output-path      2
    ├── InputFileError                    input-file       3
    │   ├── ModelFileError                model-file       3
    │   │   ├── DynamicShapeError         dynamic-shape    3
    │   │   └── UnknownCostsError         unknown-costs    3
    │   ├── StoreError                    store            3
    │   │   └── StoreVersionError         store-version    3
    │   ├── NotEnoughDataError            not-enough-data  3
    │   ├── DataSetError                  data-set         3
    │   └── PackError                     pack             3
    │       ├── PackAlteredError          pack-altered     3
    │       ├── PackVersionError          pack-version     3
    │       └── PackSpaceError            pack-space       3
    ├── CoverageError                     coverage         1
    ├── DeviceError                       device           4
    │   ├── UnsupportedModelError         unsupported      4
    │   ├── RuntimeFailedError            runtime-failed   4
    │   ├── DeviceOfflineError            device-offline   4
    │   ├── DeviceUnauthorizedError       unauthorized     4
    │   ├── DeviceDiskFullError           device-full      4
    │   ├── ConnectionLostError           connection-lost  4
    │   └── HostBusyError                 host-busy        4
    ├── DiskFullError                     disk-full        5
    └── MeasurementTimeoutError           timeout          124

``code`` is stable and meant for programs; ``exit_status`` is what the command line exits with.
An interruption by the user is Python's own ``KeyboardInterrupt`` (exit status 130).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: Characters of a message, at most: room for two targets, whose names are long.
_LONGEST = 900
#: Characters of one word of a message, at most: names in models can be as long as a file.
_LONGEST_WORD = 200
#: What databases' URLs begin with, also where the slashes are forgotten.
_DATABASES = ("postgres", "mysql", "mariadb", "mssql", "oracle", "sqlite")
_IN_A_QUERY = re.compile(
    r"([?&][^=&?\s]{0,60}(?:pass|secret|token|key)[^=&?\s]{0,60}=)[^&\s]*", re.IGNORECASE
)


def shortened(text: str, longest: int = _LONGEST) -> str:
    """A text of at most ``longest`` characters: its begin and its end where it is longer.

    What a message quotes may be a whole file given as an option.
    """
    text = str(text)
    if len(text) <= longest:
        return text
    cut = f"... ({len(text) - longest} more characters) ..."
    room = max(longest - len(cut), 2)
    return text[: room - room // 2] + cut + text[len(text) - room // 2 :]


def _with_short_words(text: str) -> str:
    """A text in one line, of whose longest words begin and end are left."""
    return " ".join(shortened(word, _LONGEST_WORD) for word in text.split())


def _fair_share(lengths: Iterable[int], total: int) -> int:
    """How long each of some texts may be, so that all have ``total``: short ones stay whole."""
    waiting = sorted(lengths)
    for position, length in enumerate(waiting):
        share = total // (len(waiting) - position)
        if length > share:
            return share
        total -= length
    return waiting[-1]


def without_passwords(text: str) -> str:
    """A text with ``***`` for what may be a password in an address, malformed ones included."""
    if ":" in text:
        text = "".join(map(_without_user, re.split(r"(\s+)", text)))
    return _IN_A_QUERY.sub(r"\1***", text)


def _without_user(word: str) -> str:
    """A word without what stands between an address's scheme and its host."""
    scheme, _, rest = word.partition("://")
    if "@" in rest:
        return f"{scheme}://***@{rest.rpartition('@')[2]}"
    scheme, _, rest = word.partition(":")
    if scheme.lstrip("'\"(").lower().startswith(_DATABASES):
        if "@" in rest:
            return f"{scheme}:***@{rest.rpartition('@')[2]}"
        server = "" if "sqlite" in scheme else rest.lstrip("/").partition("/")[0]
        if ":" in server and not server.rpartition(":")[2].isdigit():  # no host and port
            return f"{scheme}://***"
    return word


def shown(value: object, longest: int = 80) -> str:
    """What a message quotes of a value: its ``repr``, or its type where that has none.

    Python writes no whole number of more than 4,300 digits.
    """
    try:
        return repr(value)[:longest]
    except Exception:  # noqa: BLE001 - a caller's own object
        return f"a value of type {type(value).__name__}"


def words_of(error: BaseException) -> str:
    """The class of an exception, and what it says unless that raises another."""
    try:
        text = shortened(str(error), 300)
    except Exception:  # noqa: BLE001 - another's own code
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def did_you_mean(got: object, known: Iterable[str]) -> str | None:
    """A hint with the known word that is spelled most like an unknown one; None for no such."""
    import difflib  # a millisecond, which a pytest session without latprof's tests has no use for

    close = difflib.get_close_matches(str(got)[:100], list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else None


class LatprofError(Exception):
    """Base of every error that latprof raises on purpose.

    Parameters
    ----------
    problem : str
        What went wrong and where, in one line without a final full stop.
    field : str, optional
        The argument, option or file field at fault.
    expected, got : str, optional
        What would have been right, and what was there instead.
    hint : str, optional
        The next thing to do; the class's own, ``usual_hint``, where none is given.
    """

    code = "error"
    exit_status = 1
    usual_hint: str | None = None

    def __init__(
        self,
        problem: str,
        *,
        field: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.problem = without_passwords(str(problem))
        super().__init__(self.problem)
        self.field = field
        self.expected, self.got, self.hint = (
            None if part is None else without_passwords(str(part))
            for part in (expected, got, self.usual_hint if hint is None else hint)
        )

    def __str__(self) -> str:
        parts = [_with_short_words(part or "") for part in self._parts]
        most = _fair_share(map(len, parts), _LONGEST)
        problem, expected, got, hint = (shortened(part, most) for part in parts)
        said = (f"expected {expected}", self.expected), (f"got {got}", self.got)
        detail = ", ".join(text for text, value in said if value is not None)
        return problem + (f" ({detail})" if detail else "") + (f"; {hint}" if hint else "")

    @property
    def _parts(self) -> tuple[str | None, ...]:
        return self.problem, self.expected, self.got, self.hint

    def to_dict(self) -> dict[str, str | int | None]:
        """Return the error as plain values, for ``--json`` and for rows of the store."""
        names = ("problem", "expected", "got", "hint")
        parts = {
            name: None if part is None else shortened(part)
            for name, part in zip(names, self._parts, strict=True)
        }
        return {
            "code": self.code,
            "exit_status": self.exit_status,
            "problem": parts["problem"],
            "field": self.field,
            "expected": parts["expected"],
            "got": parts["got"],
            "hint": parts["hint"],
        }


class UsageError(LatprofError):
    """The call itself is wrong: an argument, an option or a combination of them."""

    code = "usage"
    exit_status = 2


class UnknownNameError(UsageError):
    """A name that is not registered; the message lists the ones that are."""

    code = "unknown-name"
    known: Sequence[str] = ()

    def __init__(self, kind: str, got: str, known: Iterable[str]) -> None:
        names = sorted(known)
        guess = did_you_mean(got, names)
        super().__init__(
            f"unknown {kind} {got!r}",
            field=kind,
            hint=f"{guess or ''} known: {', '.join(names)}",
        )
        self.known = names


class InvalidValueError(UsageError):
    """A value of the right kind outside its limits."""

    code = "invalid-value"


class UnreachableLimitError(InvalidValueError):
    """A latency limit that no network was found to keep; that is a finding, not a wrong call."""

    code = "unreachable-limit"
    exit_status = 1


class MissingDependencyError(UsageError):
    """An optional library is not installed; the message names the extra that brings it."""

    code = "missing-extra"

    def __init__(self, library: str, extra: str, needed_for: str) -> None:
        verb = "are" if ", " in library else "is"
        super().__init__(
            f"{needed_for} needs {library}, which {verb} not installed",
            field=library,
            hint=f"pip install 'latprof[{extra}]'",
        )


class EntryPointError(UsageError):
    """What another package adds to latprof cannot be used; the message names the distribution."""

    code = "entry-point"

    def __init__(self, problem: str, distribution: str, *, hint: str | None = None) -> None:
        super().__init__(problem, field=distribution, hint=hint)
        self.distribution = distribution


class OwnCodeError(UsageError):
    """A user's own code, or another package's, failed or returned what it must not.

    The message names the function, what it raised and where.
    """

    code = "own-code"


class TargetMismatchError(UsageError):
    """Numbers of different targets were about to be mixed without being asked to."""

    code = "target-mismatch"


class OutputPathError(UsageError):
    """A path that should be written cannot be."""

    code = "output-path"


class InputFileError(LatprofError):
    """A file from outside cannot be used."""

    code = "input-file"
    exit_status = 3


class ModelFileError(InputFileError):
    """A file is missing, empty, truncated or not an ONNX model."""

    code = "model-file"


class DynamicShapeError(ModelFileError):
    """A model's input has dimensions without a size."""

    code = "dynamic-shape"


class UnknownCostsError(ModelFileError):
    """A model's operators or their sizes cannot be told without running it; it can be measured."""

    code = "unknown-costs"


class StoreError(InputFileError):
    """A file is not a latprof store, or is damaged."""

    code = "store"


class StoreVersionError(StoreError):
    """A store was written by a version with another schema."""

    code = "store-version"


class NotEnoughDataError(InputFileError):
    """There are too few measurements for what was asked."""

    code = "not-enough-data"


class DataSetError(InputFileError):
    """A data set's file that is missing, damaged or in another format."""

    code = "data-set"


class PackError(InputFileError):
    """A file is not a predictor pack."""

    code = "pack"


class PackAlteredError(PackError):
    """A file inside a pack does not have the checksum its manifest states."""

    code = "pack-altered"


class PackVersionError(PackError):
    """A pack is of a newer format than this version reads."""

    code = "pack-version"


class PackSpaceError(PackError):
    """A pack was trained on another search space than the one asked about."""

    code = "pack-space"


class CoverageError(LatprofError):
    """A predictor does not know a part of the network it was asked about.

    ``missing`` lists the unknown keys. No predictor ever counts an unknown part as 0 ms.
    """

    code = "coverage"
    exit_status = 1
    missing: tuple[str, ...] = ()

    def __init__(self, problem: str, missing: Iterable[str], *, hint: str | None = None) -> None:
        super().__init__(problem, hint=hint)
        self.missing = tuple(missing)


class DeviceError(LatprofError):
    """A device or its runtime cannot do what was asked."""

    code = "device"
    exit_status = 4


class UnsupportedModelError(DeviceError):
    """The runtime refuses the model, for example for an operator it lacks."""

    code = "unsupported"


class RuntimeFailedError(DeviceError):
    """The runtime, or the process it ran in, failed while measuring."""

    code = "runtime-failed"


class DeviceOfflineError(DeviceError):
    """A device is not there, or does not answer yet."""

    code = "device-offline"


class DeviceUnauthorizedError(DeviceError):
    """A device has not allowed this computer to use it."""

    code = "unauthorized"


class DeviceDiskFullError(DeviceError):
    """The device's storage is full."""

    code = "device-full"


class ConnectionLostError(DeviceError):
    """The connection to a device broke, or carried what is not its protocol."""

    code = "connection-lost"
    usual_hint = "check the cable or the network, and run the same command again"


class HostBusyError(DeviceError):
    """The host is too busy for a number, and a quiet one was asked for."""

    code = "host-busy"


class DiskFullError(LatprofError):
    """The disk is full; what was acknowledged before is kept."""

    code = "disk-full"
    exit_status = 5


class MeasurementTimeoutError(LatprofError):
    """One measurement took longer than its time-out."""

    code = "timeout"
    exit_status = 124


def error_from_code(code: str, message: str) -> LatprofError:
    """Return the exception that a measuring process, or a row of a store, told by its code.

    Parameters
    ----------
    code : str
        One of the tree's; a code that is not there is a profiler's own, and RuntimeFailedError.
    message : str
        The whole line, ``str`` of the exception as it was raised; it becomes ``problem``.
    """
    kinds = [LatprofError]
    for kind in kinds:  # grows while it is read: all classes of the tree, parents first
        kinds += kind.__subclasses__()
    found = next((kind for kind in kinds if kind.code == code), RuntimeFailedError)
    error = found.__new__(found)  # some ask for more than a line
    LatprofError.__init__(error, message, hint="")  # the line has its own
    error.hint = None
    return error


#: The documented exit statuses of the command line.
EXIT_OK = 0
EXIT_FINDING = 1
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_DEVICE = 4
EXIT_PARTIAL = 5
EXIT_TIMEOUT = 124
EXIT_INTERRUPTED = 130
