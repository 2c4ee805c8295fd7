"""Which commit and branch the working folder is of: ``git rev-parse`` alone is asked.

A folder from outside may be hostile, and git runs programs that a repository's own settings name:
hooks, a file system monitor, an ssh command, filters. ``rev-parse`` needs none of them; monitor and
hooks are switched off all the same, nothing is fetched, and a repository that lies inside another
without being asked for is not opened.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from latprof.measurement.across.revisions import Revision

_TIMEOUT_S = 10.0
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
#: What names a revision: as git allows it, with ``~`` and ``^``; nothing that could be an option.
_NAME = re.compile(r"(?!-)[^\s:?*\[\\\x00-\x1f\x7f]{1,200}")
_BRANCH = "refs/heads/"
_SETTINGS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "safe.bareRepository": "explicit",
}
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
#: The branch as the services that check a commit out without one say it.
_BRANCHES = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BRANCH_NAME")


def git(*words: str, folder: Path | None = None, timeout_s: float = _TIMEOUT_S) -> list[str]:
    """Lines that git prints with the settings of this module; what it prints before it fails, too.

    Empty where there is no git, and where it takes too long.
    """
    return _printed(words, folder, timeout_s)[0]


def _printed(
    words: tuple[str, ...], folder: Path | None, timeout_s: float = _TIMEOUT_S
) -> tuple[list[str], list[str]]:
    """Lines of git's output, and of its messages."""
    program = shutil.which("git")
    if program is None or not Path(program).is_absolute():
        return [], ["git is not installed"]
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    try:
        done = subprocess.run(  # noqa: S603 - words of this module and checked names
            [program, *settings, *words],
            cwd=folder,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:  # ValueError: surrogates
        return [], [f"git cannot be run: {error}"]
    output, messages = (
        text.decode("utf-8", "replace").splitlines() for text in (done.stdout, done.stderr)
    )
    return output, messages


def why_unknown() -> str:
    """Why commits of the working folder may be unknown, in words; empty where git knows all."""
    shallow, messages = _printed(("rev-parse", "--is-shallow-repository"), None)
    if shallow == ["true"]:
        return "this clone is shallow: fetch the other commits with git fetch --unshallow --tags"
    return messages[0][:300] if messages and not shallow else ""


def revision_here(tag: str = "", folder: Path | None = None) -> Revision:
    """The revision of the working folder, or of another; empty outside of a repository.

    Of a detached commit the branch is what continuous integration says, where it does.
    """
    words = ("rev-parse", "HEAD", "--symbolic-full-name", "HEAD")
    commit, name, *_ = [*git(*words, folder=folder), "", ""]
    if not _COMMIT.fullmatch(commit):
        return Revision(tag=tag)
    branch = name.removeprefix(_BRANCH)
    if branch == name:  # a detached commit
        branch = next(filter(None, map(os.environ.get, _BRANCHES)), "")
    return Revision(commit, branch[:200], tag)


def top_folder() -> Path | None:
    """The root of the working folder's working tree; None outside of one."""
    lines = git("rev-parse", "--show-toplevel")
    return Path(lines[0]).resolve() if lines and lines[0] else None


def commit_of(name: str, folder: Path | None = None) -> str:
    """The commit that a branch, a tag or a short commit names; empty for none."""
    if not _NAME.fullmatch(name) or ".." in name:
        return ""
    lines = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", folder=folder)
    return lines[0] if lines and _COMMIT.fullmatch(lines[0]) else ""


def commits_between(good: str, bad: str, folder: Path | None = None) -> list[str]:
    """The commits after ``good`` up to ``bad``, oldest first, by their first parents.

    Empty where ``good`` is not among the first 10,000 ancestors.
    """
    found = [bad]
    for start in range(1, 10_000, 200):
        names = [f"{bad}~{number}" for number in range(start, start + 200)]
        for line in git("rev-parse", *names, folder=folder):
            if line == good:
                return found[::-1]
            if not _COMMIT.fullmatch(line):
                return []
            found.append(line)
    return []
