"""The packs that come with latprof: of its own data sets, and of measurements others published."""

from __future__ import annotations

from pathlib import Path

#: What answers for architectures where no pack is named; models are answered from kernels.
DEFAULT_PACK = "proxyless-cpu-ort1"

#: What answers for models where no pack is named, on processors that have no kernels of their own.
DEFAULT_KERNELS = "kernels-epyc-ort1"

#: What answers on processors that have, as targets name them; a test holds it to the packs, all of
#: which would have to be read whole for each prediction.
KERNELS_OF_PROCESSOR = {
    "AMD EPYC (family 25 model 17 stepping 1, 2600 MHz, L2 1024K, L3 32768K, "
    "avx512 avx512-vnni avx512-bf16)": "kernels-epyc-avx512-ort1",
}

#: What names of kernel packs begin with.
_KERNELS = "kernels-"

_FILES = Path(__file__).parent / "files"


def pack_names() -> list[str]:
    """Names of the packs trained on latprof's own data sets, sorted; ``load_pack`` takes them."""
    return _names(_FILES)


def published_pack_names() -> list[str]:
    """Names of the packs trained on what others published, sorted; ``load_pack`` takes them."""
    return _names(_FILES / "published")


def kernel_pack_names(processor: str = "") -> list[str]:
    """Those of :func:`pack_names` that are of kernels, for any network.

    First comes what answers on a processor, which is named as targets name it, else the default.
    """
    names = [name for name in pack_names() if name.startswith(_KERNELS)]
    first = KERNELS_OF_PROCESSOR.get(processor, DEFAULT_KERNELS)
    return sorted(names, key=first.__ne__)


def space_pack_names() -> list[str]:
    """Those of :func:`pack_names` that are of search spaces; the default one first."""
    names = [name for name in pack_names() if not name.startswith(_KERNELS)]
    return sorted(names, key=DEFAULT_PACK.__ne__)


def resolve(path: str) -> str:
    """The file that a name or a path stands for; any text but a known name is a path."""
    for folder, names in ((_FILES, pack_names()), (_FILES / "published", published_pack_names())):
        if path in names:
            return str(folder / f"{path}.pack")
    return path


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.pack"))
