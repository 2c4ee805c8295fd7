"""Many questions to a phone in one round trip of its shell."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from latprof.errors import ConnectionLostError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latprof.profilers.runtimes.android.transport.services import PhoneServices

#: Most bytes of all answers together.
_MOST_BYTES = 8 << 20


def ask_all(
    services: PhoneServices,
    questions: Mapping[str, str],
    *,
    timeout_s: float | None = None,
    most_bytes: int = _MOST_BYTES,
) -> dict[str, str]:
    """What each shell command prints, by the question's name.

    A command that the phone refuses answers with what it printed before, often nothing. A random
    mark, which no answer can guess, separates the answers. Raises as :meth:`PhoneServices.run`.
    """
    mark = secrets.token_hex(8)
    lines = [
        f"echo; echo {mark} {name}; {{ {text}; }} 2>/dev/null" for name, text in questions.items()
    ]
    script = "\n".join([*lines, f"echo; echo {mark}"])
    ended = services.run(["sh", "-c", script], timeout_s=timeout_s, most_bytes=most_bytes)
    parts = ended.stdout.split(f"\n{mark}")
    if len(parts) != len(questions) + 2:
        raise ConnectionLostError(f"{services.link.serial} broke off its answers")
    return {
        name: part.removeprefix(f" {name}\n").strip("\n")
        for name, part in zip(questions, parts[1:], strict=False)
    }
