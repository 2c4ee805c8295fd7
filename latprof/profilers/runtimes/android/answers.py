"""Many questions to a phone in one round trip: of a fresh shell, or of one that stays open."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from latprof.errors import ConnectionLostError, DeviceError
from latprof.profilers.runtimes.android.transport.base import START_ANEW, Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latprof.profilers.runtimes.android.transport.services import PhoneServices

#: Most bytes of all answers together.
_MOST_BYTES = 8 << 20


def ask_all(
    services: PhoneServices,
    questions: Mapping[str, str],
) -> dict[str, str]:
    """What each shell command prints, by the question's name.

    A command that the phone refuses answers with what it printed before, often nothing. A random
    mark, which no answer can guess, separates the answers. Raises as :meth:`PhoneServices.run`.
    """
    mark, script = _script(questions)
    ended = services.run(["sh", "-c", script], most_bytes=_MOST_BYTES)
    return _answers(ended.stdout, mark, questions, services.link.serial)


class OpenShell:
    """A shell that stays open on a phone, for questions that come before and after each visit.

    It saves the phone the start of a shell, and this computer three connections, a visit. For one
    thread; after an error nothing more can be asked.

    Parameters
    ----------
    services : PhoneServices
    """

    def __init__(self, services: PhoneServices) -> None:
        self._serial = services.link.serial
        # adbd gives it a terminal, on which a shell would prompt and repeat what it reads.
        self._stream = services.start(["sh", "-c", 'while read -r line; do eval "$line"; done'])

    def ask(self, questions: Mapping[str, str], *, timeout_s: float) -> dict[str, str]:
        """What each shell command prints, as :func:`ask_all`."""
        mark, script = _script(questions)
        deadline = Deadline(timeout_s, f"questions to {self._serial}")
        self._stream.write(f"{script}\n".encode(), deadline)
        end, found = f"\n{mark}\n".encode(), bytearray()
        while not found.endswith(end):
            more = self._stream.read(deadline)
            if not more:
                raise ConnectionLostError(f"{self._serial} broke off its answers")
            found += more
            if len(found) > _MOST_BYTES:
                raise DeviceError(
                    f"{self._serial} answered with more than {_MOST_BYTES} bytes", hint=START_ANEW
                )
        return _answers(found.decode("utf-8", "replace"), mark, questions, self._serial)

    def close(self) -> None:
        """End the shell."""
        self._stream.close()


def _script(questions: Mapping[str, str]) -> tuple[str, str]:
    """A mark that no answer can guess, and the questions with it between their answers."""
    mark = secrets.token_hex(8)
    lines = [
        f"echo; echo {mark} {name}; {{ {text}; }} 2>/dev/null </dev/null"
        for name, text in questions.items()
    ]
    return mark, "; ".join([*lines, f"echo; echo {mark}"])


def _answers(text: str, mark: str, questions: Mapping[str, str], serial: str) -> dict[str, str]:
    parts = text.split(f"\n{mark}")
    if len(parts) != len(questions) + 2:
        raise ConnectionLostError(f"{serial} broke off its answers")
    return {
        name: part.removeprefix(f" {name}\n").strip("\n")
        for name, part in zip(questions, parts[1:], strict=False)
    }
