"""What the pages need beside the files of this folder.

A generated page for each example, for CONTRIBUTING and CHANGELOG, and for the public names of each
room of the package. Links that leave this folder, which work in a checkout and on a forge, lead to
these pages on the site. After the build no page may load anything from another server.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

#: Files outside this folder that become pages: path in the repository, page on the site.
OUTSIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/foreign-nas/README.md": "examples/foreign-nas.md",
    **{
        f"examples/{path.name}": f"examples/{path.stem}.md"
        for path in sorted((ROOT / "examples").glob("*.py"))
    },
}

#: Rooms whose public names are the reference, most general first.
ROOMS = (
    *("latprof", "latprof.datasets", "latprof.graph", "latprof.measurement", "latprof.profilers"),
    *("latprof.predictors", "latprof.searchers", "latprof.reports", "latprof.testing"),
    "latprof.errors",
)

_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
_FOREIGN = re.compile(
    r"<(?:script|img|iframe|link(?=[^>]*rel=\"?(?:stylesheet|preload|icon|preconnect)))"
    r"[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*>"
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for source, page in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if source.endswith(".py"):
            text = f"# {source}\n\n```python\n{text}```\n"
        files.append(File.generated(config, page, content=text))
    for room, text in reference().items():
        files.append(File.generated(config, page_of(room), content=text))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Enter the generated pages in the navigation, whose own list holds the written ones."""
    examples = [page for page in OUTSIDE.values() if page.startswith("examples/")]
    config.nav = [
        *(config.nav or []),
        {"Examples": examples},
        {"Python reference": [{room: page_of(room)} for room in ROOMS]},
        {"Project": [{"Contributing": "contributing.md"}, {"Changelog": "changelog.md"}]},
    ]
    return config


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links between files of the repository to their pages."""
    del config, files
    sources = {target: source for source, target in OUTSIDE.items()}
    here = Path(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")).parent
    up = "../" * page.file.src_uri.count("/")

    def lead(match: re.Match[str]) -> str:
        target = match[2]
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = (ROOT / here / target).resolve()
        inside = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else target
        page_uri = OUTSIDE.get(inside, inside.removeprefix("docs/"))
        return f"{match[1]}{up}{page_uri}{match[3]}"

    return _LINK.sub(lead, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that would load a script, style, font or picture from another server."""
    for path in Path(config.site_dir).rglob("*.html"):
        if found := _FOREIGN.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path.name} loads something from elsewhere: {found[0]}")


def page_of(room: str) -> str:
    """Path of a room's page: ``reference/datasets.md``."""
    return f"reference/{room.rpartition('.')[2]}.md"


def reference() -> dict[str, str]:
    """Markdown of each room's page: every public object once, in the room that it is deepest in."""
    rooms = {room: importlib.import_module(room) for room in ROOMS}
    names = {room: sorted(getattr(module, "__all__", ())) for room, module in rooms.items()}
    home = {
        id(getattr(module, name)): f"{room}.{name}"
        for room, module in rooms.items()
        for name in names[room]
    }
    pages = {}
    for room, module in rooms.items():
        lines = [f"# {room}", ""] if names[room] else [f"::: {room}", ""]
        others = []
        for name in names[room]:
            path = home[id(getattr(module, name))]
            if path == f"{room}.{name}":
                lines += [f"::: {path}", ""]
            else:
                others.append(f"- [`{room}.{name}`][{path}]")
        if others:
            lines += ["## Also here", "", *others, ""]
        pages[room] = "\n".join(lines)
    return pages
