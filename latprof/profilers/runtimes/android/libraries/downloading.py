"""A file from the web, with a deadline and a bound on its size that hold over the whole call."""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import IO, Any

from latprof.errors import InputFileError, InvalidValueError, MeasurementTimeoutError

_CHUNK = 1 << 18
#: Most seconds without any byte.
_SILENCE_S = 10.0


def download(
    url: str,
    *,
    sha256: str | None = None,
    most_bytes: int,
    timeout_s: float,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> bytes:
    """Fetch a file over https.

    Parameters
    ----------
    url : str
        Of ``https``; of ``http`` only where ``sha256`` says what comes.
    sha256 : str, optional
        Hexadecimal digest that the file must have.
    most_bytes : int
    timeout_s : float
        For the whole file.
    on_progress : callable, optional
        Called with the bytes that came, and how many there are in all where the server says so.

    Raises
    ------
    InvalidValueError
        For an address of another scheme.
    InputFileError
        Where the server does not give the file, or gives a larger or another one.
    MeasurementTimeoutError
    """
    _check_scheme(url, sha256)
    name = shown_url(url)
    opener = urllib.request.build_opener(_SameScheme(sha256))
    end = time.monotonic() + timeout_s
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "latprof"})  # noqa: S310 - checked
        with opener.open(request, timeout=min(_SILENCE_S, timeout_s)) as answer:
            content = _read(answer, name, most_bytes, end, timeout_s, on_progress)
    except TimeoutError:
        raise _timed_out(name, timeout_s) from None
    except urllib.error.HTTPError as error:
        raise InputFileError(
            f"{name} cannot be fetched: HTTP {error.code} {error.reason}",
            field="source",
            hint="check the address, or fetch the file yourself and give its path",
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(getattr(error, "reason", None), TimeoutError):
            raise _timed_out(name, timeout_s) from None
        raise InputFileError(
            f"{name} cannot be fetched: {str(getattr(error, 'reason', error))[:200]}",
            field="source",
            hint="check the network, or fetch the file yourself and give its path",
        ) from None
    check_sha256(content, sha256, name)
    return content


def shown_url(url: str) -> str:
    """An address for messages and records: without a user, a password, or what is behind ``?``."""
    return re.sub(r"//.*@", "//***@", url, flags=re.DOTALL).partition("?")[0]


def check_sha256(content: bytes, sha256: str | None, source: str) -> None:
    """Raise InputFileError where a content has another digest than is wanted."""
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise InputFileError(
            f"{source} is not the file that was meant",
            field="sha256",
            expected=sha256.lower(),
            got=found,
            hint="check where the digest and the file come from",
        )


def _read(
    answer: IO[bytes],
    url: str,
    most_bytes: int,
    end: float,
    timeout_s: float,
    on_progress: Callable[[int, int | None], None] | None,
) -> bytes:
    said = getattr(answer, "headers", {}).get("Content-Length", "")
    total = int(said) if said.isascii() and said.isdigit() and len(said) < 16 else None
    content = bytearray()
    while total is None or len(content) < total:
        if time.monotonic() > end:
            raise _timed_out(url, timeout_s)
        more = answer.read1(_CHUNK)  # type: ignore[attr-defined]
        if not more:
            break
        content += more
        if len(content) > most_bytes or (total is not None and total > most_bytes):
            raise InputFileError(
                f"{url} is too large",
                field="source",
                expected=f"at most {most_bytes >> 20} MiB",
                hint="give the address of the library alone",
            )
        if on_progress is not None:
            on_progress(len(content), total)
    if total is not None and len(content) < total:
        raise InputFileError(
            f"{url} broke off after {len(content)} of {total} bytes",
            field="source",
            hint="run the same command again",
        )
    return bytes(content)


def _timed_out(url: str, timeout_s: float) -> MeasurementTimeoutError:
    return MeasurementTimeoutError(
        f"{url} did not come within {timeout_s:g} s",
        field="timeout_s",
        hint="allow more time, or fetch the file yourself and give its path",
    )


def _check_scheme(url: str, sha256: str | None) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:  # brackets without an IPv6 address
        parts = urllib.parse.urlsplit("")
    known = parts.scheme == "https" or (parts.scheme == "http" and sha256)
    if known and "@" not in parts.netloc:  # a password would be in messages of libraries
        return
    raise InvalidValueError(
        "not an address to fetch a library from",
        field="source",
        expected="https://... without a password, or http://... with its `sha256`",
        got=shown_url(url)[:200],
        hint="or fetch the file yourself and give its path",
    )


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows redirections to addresses that could have been given, and to no others."""

    def __init__(self, sha256: str | None) -> None:
        self._sha256 = sha256

    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        _check_scheme(str(arguments[-1]), self._sha256)
        return super().redirect_request(*arguments)
