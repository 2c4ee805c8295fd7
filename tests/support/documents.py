"""What README and docs/ show a reader: code blocks, command lines and their printed output."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

#: Networks in the store of the folder that the documents' lines run in.
NETWORKS = 60

_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SPAN = re.compile(r"`(latprof(?: [^`]+)?)`")
#: A comment before a block with which its commands are not run: a device or hours are needed.
PARSED_ONLY = "parsed only: "
#: A comment before a block that is what a command prints.
OUTPUT_OF = "output of: "
#: A comment before a block that is what the Python block above prints.
OUTPUT_ABOVE = "output of the block above"


@dataclass(frozen=True)
class Block:
    """A fenced block: its place, language and text, the comment and the line of prose before it."""

    page: str
    line: int
    language: str
    text: str
    mark: str = ""
    before: str = ""

    @property
    def parsed_only(self):
        return self.mark.startswith(PARSED_ONLY)

    def commands(self):
        """The commands in it as lists of words; of a console session, those after a prompt."""
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        elif self.language or self.mark.startswith(OUTPUT_OF):
            return []
        words = (shlex.split(line, comments=True) for line in lines)
        return [command for command in words if command]

    def sessions(self):
        """Of a console session, each command and the lines that it prints."""
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]
        for part in parts:
            command, _, printed = part.partition("\n")
            yield shlex.split(command), printed.splitlines()

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks():
    """Every fenced block of the documents."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        page = path.relative_to(ROOT).as_posix()
        for found in _FENCE.finditer(text):
            line = text.count("\n", 0, found.start("language")) + 1
            before = text[: found.start()].rstrip().rpartition("\n")[2]
            yield Block(page, line, found["language"], found["text"], found["mark"] or "", before)


def printed_by(block):
    """What the page shows as the output of a Python block; None where it shows none."""
    page = [each for each in blocks() if each.page == block.page]
    after = page[page.index(block) + 1 :]
    return after[0].text if after and after[0].mark == OUTPUT_ABOVE else None


def command_lines():
    """Every ``latprof`` command of a block: the block and the words after ``latprof``."""
    for block in blocks():
        for words in block.commands():
            if words[0] == "latprof":
                yield block, words[1:]


def command_spans():
    """Every ``latprof`` command that stands in a sentence or a table: page and words after it."""
    for path in PAGES:
        text = _FENCE.sub("", path.read_text(encoding="utf-8"))
        for span in _SPAN.findall(text):
            yield path.relative_to(ROOT).as_posix(), shlex.split(" ".join(span.split()))[1:]
