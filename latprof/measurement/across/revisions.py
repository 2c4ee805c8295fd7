"""Of which commit, branch and tag measurements are, and which file a model was in each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from latprof.errors import NotEnoughDataError, UsageError

#: Under which keys a campaign has its revision (of what it found) and its files (of its plan).
SOURCE, NETWORKS = "source", "networks"


@dataclass(frozen=True)
class Revision:
    """The state of the sources that a measurement belongs to; empty for what is not known.

    ``tag`` is what the caller named the measurement, not a tag of git.
    """

    commit: str = ""
    branch: str = ""
    tag: str = ""

    def describe(self) -> str:
        """A short commit, with branch and tag."""
        names = ", ".join(filter(None, (self.branch, self.tag)))
        if not self.commit:
            return names or "not known"
        return f"{self.commit[:10]} ({names})" if names else self.commit[:10]

    def is_called(self, name: str) -> bool:
        """Whether a tag, a branch, or a commit of at least 7 digits is meant by this name."""
        return name in {self.tag, self.branch, self.commit} - {""} or (
            len(name) >= 7 and self.commit.startswith(name)
        )

    def to_dict(self) -> dict[str, str]:
        """Return the revision as plain JSON values."""
        return asdict(self)

    @classmethod
    def of_campaign(cls, campaign: Mapping[str, Any]) -> Revision:
        """The revision of a campaign of a store; empty where none was written down."""
        found = campaign["host"].get(SOURCE)
        values = found if isinstance(found, Mapping) else {}
        return cls(*(str(values.get(name, ""))[:200] for name in ("commit", "branch", "tag")))


@dataclass(frozen=True)
class FileInRevision:
    """Which file a model was: its name, its content's digest, and since when (Unix time)."""

    revision: Revision
    name: str
    key: str
    started_at: float


def files_of(campaigns: Iterable[Mapping[str, Any]]) -> list[FileInRevision]:
    """Every model of every campaign, oldest first."""
    found = []
    for campaign in sorted(campaigns, key=lambda each: each["started_at"]):
        networks = campaign["plan"].get(NETWORKS)
        for name, key in networks.items() if isinstance(networks, Mapping) else ():
            found.append(
                FileInRevision(
                    Revision.of_campaign(campaign), str(name), str(key), campaign["started_at"]
                )
            )
    return found


def files_of_model(files: Sequence[FileInRevision], model: str) -> list[FileInRevision]:
    """The states of one model, each once in a row.

    ``model`` is the name that it was measured under, the end of it (``"m.onnx"``, ``"m"``,
    ``"fast/m.onnx"``, ``"test_speed"`` of ``"test_m.py::test_speed"``), or the path of a file of
    that name.
    Raises NotEnoughDataError where there is none, UsageError where it may be several.
    """
    names = {each.name for each in files}
    if not names:
        raise NotEnoughDataError(
            "the store does not say of which revision its measurements are",
            hint="collect model files with this version of latprof, in a git repository or with "
            "--tag",
        )
    fitting = {model} & names or {name for name in names if _ends_with(name, model)}
    last = PurePath(model).name
    fitting = fitting or {n for n in names if last and PurePath(n).name == last}
    if len(fitting) != 1:
        some = sorted(fitting or names)
        shown = ", ".join(some[:5]) + (", ..." if len(some) > 5 else "")
        raise UsageError(
            f"the store holds {len(fitting) or 'no'} models that are called {model!r}",
            field="model",
            expected=f"one of {shown}",
        )
    found: list[FileInRevision] = []
    for file in files:
        if file.name not in fitting:
            continue
        before = found[-1] if found else None
        if before is None or (file.revision, file.key) != (before.revision, before.key):
            found.append(file)
    return found


def _ends_with(called: str, model: str) -> bool:
    """Whether a name ends with the last parts of a path, the ending of the file left out or not.

    A test's name, ``test_m.py::test_speed``, has its parts as a path has.
    """
    name, last = PurePath(called.replace("::", "/")), PurePath(model.replace("::", "/")).parts
    spellings = (name.parts, (*name.parts[:-1], name.stem))
    return bool(last) and last in (parts[-len(last) :] for parts in spellings)


def files_at(files: Sequence[FileInRevision], name: str, but: str = "") -> dict[str, str]:
    """The last digest of each model at the revision of a name; not at the commit ``but``.

    Raises NotEnoughDataError where nothing was measured there.
    """
    called = [each for each in files if each.revision.is_called(name)]
    found = {each.name: each.key for each in called if not but or each.revision.commit != but}
    if not found:
        known = dict.fromkeys(each.revision.describe() for each in files)
        raise NotEnoughDataError(
            f"the store has no measurement of {name!r}"
            + (" but those of the present commit" if called else ""),
            expected=f"one of {'; '.join([*known][-5:])}" if known else "a revision",
        )
    return found
