"""Documents, help texts, messages and docstrings use the field's words.

A turn of speech is listed with what it is replaced by. Words that have a plain sense too (network,
label, known, kept, bench) are not in the list: a reader judges them.
"""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from documents import PAGES, ROOT

import latprof
from latprof.cli.main import app

#: A regular expression of a turn of speech, and words for it.
TURNS = {
    # pictures
    r"luck(s|y)?\b": "bias",
    r"weather": "drift",
    r"breath": "visit; back to back",
    r"bouts?\b": "round, visit",
    r"(told|tells?|telling) ([\w-]+ ){0,6}apart": "distinguish, identify, estimate",
    r"drawn in\b": "winsorised, Huber weights",
    r"pull(s|ed|ing)?\b(?! request)": "influence; a robust fit",
    r"seen the like": "within the range of the training data",
    r"(sought|seeks?)\b": "searched",
    r"(go|goes|went|gone|going) on\b": "resume, continue",
    r"mend(s|ed|ing)?\b": "fix",
    r"to blame\b": "play a part",
    r"without a word\b": "silently",
    r"as you like\b": "safe to interrupt",
    r"in the box\b": "bundled",
    r"that is how it is\b": "unless half of all visits are disturbed",
    r"left out, the front": "if omitted",
    r"(least|most) open about": "predictive variance",
    r"by turns\b": "alternately",
    r"of another make\b": "in another format",
    r"the way there\b": "search history",
    r"not here yet\b": "no data",
    r"are upright|lie where": "vertical, horizontal",
    # sentences without their subject
    r"found done\b": "already complete",
    r"when quiet\b": "best observed",
    r"are all it takes\b|leave the rest alone\b": "run in .venv and change nothing else",
    r"what (a model|a network|the networks|networks) takes?\b": "latency",
    r"tells? the latency\b": "predict latency",
    r"tell how many\b": "predict how many",
    r"told on all\b": "report every network on every target",
    r"more roughly\b": "rough estimate",
    r"(shall keep the limit|the prediction shall)\b": "fraction that must stay within the limit",
    r"your function is asked\b": "passed to your accuracy function",
    r"numbers to compute with\b|compute with these numbers\b": "dtype",
    r"how the runtime runs\b": "execution mode",
    r"come from one source\b": "needs an accuracy source",
    r"an accuracy failed\b": "the accuracy function raised an error",
    r"not a condition\b": "expected for example",
    r"does not say on what\b": "has no target",
    r"does without\b": "pass --option",
    r"has to know\b|have to know\b": "caveats",
    r"(predictor|pack) says of\b": "predictions for",
    r"nothing is known of\b": "only their presence is known",
    r"a process tells\b": "where it is not identifiable",
    r"everyone's\b": "published",
}
BAD = re.compile("|".join(rf"\b(?:{turn})" for turn in TURNS), re.IGNORECASE)
PACKAGE = Path(latprof.__file__).parent


def plain(text):
    """Words of a text with single blanks between them."""
    return " ".join(text.split())


def found_in(text):
    text = plain(text)
    return [text[max(0, m.start() - 30) : m.end() + 30] for m in BAD.finditer(text)]


def unreleased():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return text.split("## [Unreleased]")[1].split("\n## [")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_is_in_plain_words(page):
    assert found_in(page.read_text(encoding="utf-8")) == []


def test_the_changelog_is_in_plain_words():
    assert found_in(unreleased()) == []


GROUP: Any = typer.main.get_command(app)


@pytest.mark.parametrize("name", sorted(GROUP.commands))
def test_the_help_of_a_command_is_in_plain_words(name):
    command = GROUP.commands[name]
    texts = [command.help or "", *(getattr(each, "help", "") or "" for each in command.params)]
    assert any(texts)
    assert [found for text in texts for found in found_in(text)] == []


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_messages_and_docstrings_are_in_plain_words(path):
    texts = (
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert [found for text in texts for found in found_in(text)] == []


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.j2")), ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_report_pages_are_in_plain_words(path):
    assert found_in(path.read_text(encoding="utf-8")) == []


def test_the_list_finds_what_it_is_for():
    assert found_in("One breath has one process's luck in it")
    assert found_in("cannot be told apart")
    assert found_in("tell the two apart")
    assert not found_in("a pull request is an architecture of the field")
