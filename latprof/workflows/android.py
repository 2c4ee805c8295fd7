"""What phones need once: the runtime library that they get; and putting a phone back."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from latprof.common.files import path_text, what_is_at
from latprof.common.limits import TIMEOUT
from latprof.common.short_reprs import ShortRepr
from latprof.errors import (
    DeviceError,
    InputFileError,
    InvalidValueError,
    UsageError,
    did_you_mean,
    shown,
)

if TYPE_CHECKING:
    from latprof.profilers.runtimes.android.library import RuntimeLibrary
    from latprof.workflows.arguments import OnNote, PathLike

#: Where each runtime's library for arm64 is published by its makers.
PUBLISHED = {
    "litert": "https://storage.googleapis.com/litert/binaries/latest/android_arm64/libLiteRt.so",
    "onnxruntime": "https://repo1.maven.org/maven2/com/microsoft/onnxruntime/onnxruntime-android"
    "/1.22.0/onnxruntime-android-1.22.0.aar",
    "benchmark-model": "https://storage.googleapis.com/litert/binaries/latest/android_arm64"
    "/benchmark_model",
}
OnProgress: TypeAlias = Callable[[int, int | None], None]
_ADDRESS, _CODE = re.compile(r"[A-Za-z0-9._\[\]:%-]{1,120}:\d{1,5}"), re.compile(r"\d{6}")
_GIVE = "give the path of a library, or of the AAR or zip file that holds it"
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, repr=False)
class AndroidResult(ShortRepr):
    """What was done for phones.

    Parameters
    ----------
    library : RuntimeLibrary or None
        Of ``setup``: what was taken, with ``runtime``, ``abi``, ``api``, ``name``, ``sha256``,
        ``size_bytes``, ``source``, ``least_sdk`` and ``path``.
    serial : str
        Of ``restore`` and ``clean``: the phone's own.
    undone : int
        Of these: how many changes of an earlier latprof were there.
    cleaned : bool
        Whether what latprof had written on the phone was removed.
    paired : str
        Of ``pair``: the phone's address.
    """

    library: RuntimeLibrary | None = None
    serial: str = ""
    undone: int = 0
    cleaned: bool = False
    paired: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        if self.library is not None:
            return self.library.to_dict()
        if self.paired:
            return {"paired": self.paired}
        return {"serial": self.serial, "undone": self.undone, "cleaned": self.cleaned}


def android(
    action: str,
    source: PathLike | None = None,
    *,
    runtime: str | None = None,
    abi: str | None = None,
    sha256: str | None = None,
    code: str | None = None,
    timeout_s: float = 600.0,
    on_progress: OnProgress | None = None,
    on_note: OnNote | None = None,
) -> AndroidResult:
    """Set up measuring on phones, or put a phone back as it was.

    Parameters
    ----------
    action : str
        ``"setup"`` takes the runtime library that phones get, checks it, and remembers it.
        ``"restore"`` undoes what a latprof that was killed changed on a phone; every command that
        measures a phone does so first. ``"clean"`` also removes all that latprof has written there:
        runner, libraries and models, which the next command pushes again. ``"pair"`` makes a phone
        with Android 11 or later known over Wi-Fi, through an adb server.
    source : path, URL or str, optional
        For ``setup`` a library (``libLiteRt.so``, ``libtensorflowlite_jni.so``,
        ``libonnxruntime.so``), or an AAR, a wheel or another zip file that holds it, here or over
        https; with ``runtime="benchmark-model"`` the program of that name. Where not given, what
        the runtime's makers publish for arm64 is fetched. For ``restore`` and ``clean`` the
        phone's serial; may be left out where one phone is there. For ``pair`` the HOST:PORT that
        the phone shows beside the code.
    runtime : str, optional
        ``"litert"`` or ``"onnxruntime"``; where not given, what ``source`` is, or LiteRT. Or
        ``"benchmark-model"``, for GPUs and NPUs.
    abi : str, optional
        Which library of several, for example ``"arm64-v8a"``, which is taken first.
    sha256 : str, optional
        Hexadecimal digest that ``source`` must have.
    code : str, optional
        The six digits that the phone shows, for ``pair``.
    timeout_s : float
        Most seconds for a whole download.
    on_progress : callable, optional
        Called with the bytes that came, and how many there are in all where that is known.
    on_note : callable, optional
        Called with remarks.

    Raises
    ------
    InputFileError
        For a file that cannot be read or fetched, is no library, or too old.
    DeviceError
        For a library of another ABI or system; for a phone that another latprof has, or that cannot
        be reached.
    UsageError, MeasurementTimeoutError, OutputPathError
    """
    _check_word("action", action, ("setup", "restore", "clean", "pair"))
    if source is not None:
        source = path_text(source, "source")
    if code is not None and action != "pair":
        raise UsageError("`code` is for pair", field="action", hint="leave it out, or pair")
    TIMEOUT.check("timeout_s", timeout_s)
    if action == "setup":
        return AndroidResult(_set_up(source, runtime, abi, sha256, (timeout_s, on_progress)))
    if runtime or abi or sha256:
        raise UsageError(
            "`runtime`, `abi` and `sha256` are for setup", field="action", hint="leave them out"
        )
    serial = "" if source is None else source.removeprefix("adb:")
    if action == "pair":
        return _pair(serial, "" if code is None else str(code))
    return _restore(serial, on_note, clean=action == "clean")


def _set_up(
    source: str | None,
    runtime: str | None,
    abi: str | None,
    sha256: str | None,
    fetching: tuple[float, OnProgress | None],
) -> RuntimeLibrary:
    from latprof.profilers.runtimes.android.libraries.downloading import shown_url
    from latprof.profilers.runtimes.android.libraries.library_file import (
        RUNTIME_OF_API,
        SYSTEMS,
        read_library,
    )
    from latprof.profilers.runtimes.android.libraries.program_file import read_program
    from latprof.profilers.runtimes.android.library import remember_library

    _check_word("runtime", runtime, tuple(PUBLISHED))
    _check_word("abi", abi, tuple(SYSTEMS))
    if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise InvalidValueError(
            "not a SHA-256",
            field="sha256",
            expected="64 hexadecimal digits",
            got=shown(sha256),
            hint="`sha256sum FILE` prints one",
        )
    named = source if source is not None else PUBLISHED[runtime or "litert"]
    read = read_program if runtime == "benchmark-model" else read_library
    content = _content(named, sha256, *fetching)
    if "://" in named:
        named = shown_url(named)
    library = read(content, named, abi=abi)
    if runtime is not None and RUNTIME_OF_API[library.api] != runtime:
        raise InvalidValueError(
            f"{named} is no library of this runtime",
            field="runtime",
            expected=runtime,
            got=RUNTIME_OF_API[library.api],
            hint="leave `runtime` out, or give its library",
        )
    return remember_library(library, named if "://" in named else str(Path(named).resolve()))


def _pair(address: str, code: str) -> AndroidResult:
    from latprof.profilers.runtimes.android.phones import pair_phone

    if not (_ADDRESS.fullmatch(address) and _CODE.fullmatch(code)):
        raise InvalidValueError(
            "pairing needs the address and the code that the phone shows",
            field="code",
            expected="HOST:PORT and six digits",
            got=f"{address[:80]} and {shown(code, 20)}",
            hint="Developer options, Wireless debugging, Pair device with pairing code",
        )
    pair_phone(address, code)
    return AndroidResult(paired=address)


def _restore(serial: str, on_note: OnNote | None, *, clean: bool) -> AndroidResult:
    from latprof.profilers.runtimes.android.journal import Journal
    from latprof.profilers.runtimes.android.owner import WORK_FOLDER, owned
    from latprof.profilers.runtimes.android.phone_facts import read_phone_facts
    from latprof.profilers.runtimes.android.phones import open_phone
    from latprof.profilers.runtimes.android.preparation import restore

    services = open_phone(serial)
    with services.link:
        own = read_phone_facts(services).serial
        with owned(services, own, on_note=on_note):
            journal = Journal(services, own)
            count = len(journal.changes)
            restore(services, journal, on_note)
            if clean and (ended := services.run(["rm", "-rf", WORK_FOLDER])).status:
                raise DeviceError(
                    f"{own} keeps {WORK_FOLDER}: {ended.stderr.strip()[:200]}",
                    hint="remove it as the user that made it, such as that of `adb root`",
                )
    return AndroidResult(serial=own, undone=count, cleaned=clean)


def _check_word(field: str, word: str | None, known: tuple[str, ...]) -> None:
    if word is not None and word not in known:
        raise InvalidValueError(
            f"no such {field}",
            field=field,
            expected=" or ".join(known),
            got=shown(word, 40),
            hint=did_you_mean(word, known),
        )


def _content(
    source: str,
    sha256: str | None,
    timeout_s: float,
    on_progress: OnProgress | None,
) -> bytes:
    from latprof.profilers.runtimes.android.libraries.downloading import check_sha256, download
    from latprof.profilers.runtimes.android.libraries.library_file import MOST_BYTES

    if "://" in source:
        fetch = partial(download, sha256=sha256, most_bytes=MOST_BYTES, timeout_s=timeout_s)
        return fetch(source, on_progress=on_progress)
    path = Path(source)
    if what_is_at(path) == "special":
        raise InputFileError(
            f"{source} is a device or a pipe", field="source", expected="a file", hint=_GIVE
        )
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputFileError(
            f"cannot read {source}: {getattr(error, 'strerror', None) or error}",
            field="source",
            hint=_GIVE,
        ) from None
    if len(content) > MOST_BYTES:
        raise InputFileError(
            f"{source} is too large",
            field="source",
            expected=f"at most {MOST_BYTES >> 20} MiB",
            hint=_GIVE,
        )
    check_sha256(content, sha256, source)
    return content
