"""``latprof.toml`` and ``LATPROF_*``: what one would otherwise type each time.

An option on the command line comes first, then the environment's ``LATPROF_TARGET`` and so on, then
``latprof.toml`` in the working folder, then the default. Python is given its arguments; it reads
neither.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import Any, NamedTuple

from latprof.cli.console import note
from latprof.common.limits import read_number
from latprof.errors import InputFileError, UsageError, did_you_mean, shown, without_passwords

FILE = "latprof.toml"
_MOST_BYTES = 1 << 16
_LARGEST_THREADS = 1024
#: What is reached over a network: a downloaded folder must not send a model anywhere. Targets and
#: URLs, a phone by HOST:PORT, and URLs with a slash forgotten.
_REMOTE = re.compile(r"(tvm-rpc|ssh):|.*://|adb:.+:[0-9]+:|.*:.*@", re.DOTALL)


class Setting(NamedTuple):
    """For which commands a setting is, and beside which of their options it does not count."""

    default: str
    commands: Mapping[str, tuple[str, ...]]


_MEASURING: Mapping[str, tuple[str, ...]] = dict.fromkeys(("collect", "profile", "compare"), ())
SETTINGS = {
    "target": Setting("cpu:onnxruntime", _MEASURING),
    "store": Setting(
        "latprof.db",
        {
            "train": ("published", "kernels"),
            "history": ("bisect",),
            **dict.fromkeys(("collect", "search", "transfer", "export", "import"), ()),
        },
    ),
    "threads": Setting("1", _MEASURING),
    "pack": Setting(
        "",
        {"predict": ("target", "threads", "mode", "on", "every"), "search": ("space", "latency")},
    ),
}


class Configured(NamedTuple):
    """A setting's value and where it comes from."""

    value: str
    source: str


def configuration() -> dict[str, Configured]:
    """All settings that the environment or the file has.

    Raises UsageError for a value that cannot be, InputFileError for a file that cannot be read.
    """
    found = {name: Configured(_checked(name, value, FILE), FILE) for name, value in _read().items()}
    for name in SETTINGS:
        variable = f"LATPROF_{name.upper()}"
        if os.environ.get(variable):
            value = _checked(name, os.environ[variable], variable)
            found[name] = Configured(value, variable)
    return found


def _read() -> Mapping[str, Any]:
    """The file's settings; nothing, and nothing loaded, where there is none."""
    try:
        if not stat.S_ISREG(os.stat(FILE).st_mode):  # noqa: PTH116 - as cheap as can be
            return {}
    except OSError:
        return {}
    import tomllib

    try:
        with open(FILE, "rb") as file:  # noqa: PTH123 - the same
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes")
        found = tomllib.loads(content.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputFileError(f"{FILE} cannot be read: {error}") from None
    unknown = sorted(found.keys() - SETTINGS.keys())
    if unknown:
        raise UsageError(
            f"{FILE} has no setting {unknown[0]!r}",
            expected=f"one of {', '.join(SETTINGS)}",
            hint=did_you_mean(unknown[0], SETTINGS),
        )
    return found


def _checked(name: str, value: object, source: str) -> str:
    if name == "threads":
        number: float | None = value if type(value) is int else None
        if isinstance(value, str):
            number = read_number(value, is_whole=True)
        if number is None or not 1 <= number <= _LARGEST_THREADS:
            raise UsageError(
                f"{name} in {source} is wrong",
                expected=f"a whole number from 1 to {_LARGEST_THREADS}",
                got=shown(value),
            )
        return str(number)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{name} in {source} is wrong", expected="text", got=shown(value))
    if source == FILE and _REMOTE.match(value):
        raise UsageError(  # it may hold a password
            f"the {name} in {FILE} leads to another computer",
            field=name,
            hint=f"give it as LATPROF_{name.upper()} or on the command line",
        )
    return value


def defaults_for(command: str, given: Mapping[str, Any]) -> dict[str, str]:
    """What is configured for a command, by its parameters; ``given`` stands on its line.

    What comes from the file is said on stderr.
    """
    names = [name for name, setting in SETTINGS.items() if command in setting.commands]
    if not names:
        return {}
    found = {
        name: configured
        for name, configured in configuration().items()
        if name in names and _counts(name, command, given)
    }
    from_file = [f"{name} {c.value}" for name, c in found.items() if c.source == FILE]
    if from_file:
        note(f"latprof: from {FILE}: {', '.join(from_file)}")
    return {name: configured.value for name, configured in found.items()}


def _counts(name: str, command: str, given: Mapping[str, Any]) -> bool:
    """Whether a setting counts beside what is given."""
    beside = {each: given.get(each) for each in SETTINGS[name].commands[command]}
    if ":" in str(beside.get("space")):  # one of the user's own, which its pack needs
        del beside["space"]
    if isinstance(given.get(name), str) or any(beside.values()):
        return False
    first = given.get("a")  # of compare: stores have targets of their own
    return not (
        command == "compare"
        and isinstance(first, str)
        and (first.endswith(".db") or "://" in first)
    )


def dumped() -> str:
    """Every setting as TOML, with where it comes from; without passwords."""
    from latprof.predictors.pack.shipped import DEFAULT_PACK

    found = configuration()
    lines = []
    for name, setting in SETTINGS.items():
        default = Configured(setting.default or DEFAULT_PACK, "default")
        value, source = found.get(name, default)
        text = value if name == "threads" else _quoted(without_passwords(value))
        # Without a pack the one for each model is chosen, which no file can say.
        off = "" if found.get(name) or setting.default else "# "
        lines.append(f"{off}{name} = {text}  # {source}\n")
    return "".join(lines)


def _quoted(text: str) -> str:
    """A basic string of TOML: JSON's without surrogates is one."""
    import json

    return json.dumps(text)
