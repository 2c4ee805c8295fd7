"""The packs that come with latprof, trained on its data sets of the same names."""

from __future__ import annotations

from pathlib import Path

#: What answers where no pack is named.
DEFAULT_PACK = "proxyless-cpu-ort1"

_FILES = Path(__file__).parent / "files"


def pack_names() -> list[str]:
    """Names of the packs that come with latprof, sorted; ``load_pack`` takes them as paths."""
    return sorted(path.stem for path in _FILES.glob("*.pack"))


def resolve(path: str) -> str:
    """The file that a name or a path stands for; any text but a known name is a path."""
    return str(_FILES / f"{path}.pack") if path in pack_names() else path
