"""Models that latprof builds from a line of text: the zoo's at any size, and random ones.

``"zoo:mobilenet-v2 resolution=224 width=1 batch_size=1"`` or ``"random:17 batch_size=1"``: what a
store keeps of such a network is enough to build it again. ``" quantized=qdq"`` behind it is the
same network in one of :data:`~latprof.graph.convert.quantized.forms.FORMS`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from latprof.datasets.zoo import catalogue
from latprof.datasets.zoo.random_modules import random_modules
from latprof.datasets.zoo.random_networks import random_network, small_network
from latprof.datasets.zoo.random_operators import random_operators
from latprof.datasets.zoo.random_tokens import random_tokens
from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    import onnx

    from latprof.datasets.zoo.network_builder import NetworkBuilder

_ZOO = re.compile(
    r"zoo:([\w.-]{1,80}) resolution=(\d{1,5}) width=(\d{1,3}(?:\.\d{1,6})?) batch_size=(\d{1,5})"
)
_RANDOM = re.compile(r"(random|small|tokens|operators|modules):(\d{1,9}) batch_size=(\d{1,5})")
_QUANTIZED = " quantized="
#: Of so many seeds one has a network of these: they would be chosen before all others.
_RARE = {"operators": 4, "modules": 2}
#: What builds the random networks of each word.
_DRAWN = {
    "random": random_network,
    "small": small_network,
    "tokens": random_tokens,
    "operators": random_operators,
    "modules": random_modules,
}


def zoo_key(
    name: str, *, resolution: int | None = None, width: float = 1.0, batch_size: int = 1
) -> str:
    """The line of a network of the zoo; raises UnknownNameError for a name that is none."""
    size = catalogue.facts(name).resolution if resolution is None else resolution
    return f"zoo:{name} resolution={size} width={width:g} batch_size={batch_size}"


def random_keys(seed: int, *, batch_size: int = 1) -> list[str]:
    """The lines of a seed's random networks, one of each kind; of rare operators seldom one."""
    words = (word for word in _DRAWN if seed % _RARE.get(word, 1) == 0)
    return [f"{word}:{seed} batch_size={batch_size}" for word in words]


def quantized_key(key: str, form: str) -> str:
    """The line of the same network, quantised."""
    return f"{key}{_QUANTIZED}{form}"


def is_quantized(key: str) -> bool:
    """Whether a line is of a quantised network."""
    return _QUANTIZED in key


def built_bytes(key: str) -> bytes:
    """The model of a line; raises InvalidValueError for a line that is none."""
    if is_quantized(key):
        from latprof.graph.convert.quantized.forms import with_values

        content: bytes = with_values(built_model(key)).SerializeToString()
        return content
    if match := _ZOO.fullmatch(key):
        name, resolution, width, batch_size = match.groups()
        return catalogue.onnx_bytes(
            name,
            resolution=int(resolution),
            width=float(width),
            batch_size=int(batch_size),
        )
    if match := _RANDOM.fullmatch(key):
        return b"".join(_drawn(match).pieces())
    raise InvalidValueError("not a network that latprof builds", got=key[:100])


def built_model(key: str) -> onnx.ModelProto:
    """The model of a line without its weights, which can be read and not run."""
    if is_quantized(key):
        from latprof.graph.convert.quantized.forms import quantized_form

        plain, _, form = key.partition(_QUANTIZED)
        return quantized_form(built_model(plain), form)
    if match := _ZOO.fullmatch(key):
        name, resolution, width, batch_size = match.groups()
        return catalogue.build(
            name,
            resolution=int(resolution),
            width=float(width),
            batch_size=int(batch_size),
            weights=False,
        )
    if match := _RANDOM.fullmatch(key):
        return _drawn(match).model(weights=False)
    raise InvalidValueError("not a network that latprof builds", got=key[:100])


def built_family(key: str) -> str:
    """The family of a network of the zoo; empty for random networks, which have none."""
    match = _ZOO.fullmatch(key.partition(_QUANTIZED)[0])
    return catalogue.facts(match[1]).family if match else ""


def named_family(name: str) -> str:
    """The family that the name of somebody's model speaks of.

    The zoo's with the longest name in it (``"timm-repghostnet_050"``: ``ghostnet``), else the
    name's own letters.
    """
    letters = _letters(name)
    families = {catalogue.facts(each).family for each in catalogue.names()}
    found = [family for family in families if _letters(family) in letters]
    return max(found, key=lambda family: (len(family), family), default=letters)


def _letters(name: str) -> str:
    """A name's letters and digits, without the numbers that end its words."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "".join(word for word in words if not word.isdigit())


def _drawn(match: re.Match[str]) -> NetworkBuilder:
    word, seed, batch_size = match.groups()
    return _DRAWN[word](int(seed), batch_size=int(batch_size))
