"""Search spaces by name."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from latprof.datasets.spaces.fbnet import FBNetSpace
from latprof.datasets.spaces.mixed_precision import MixedPrecisionSpace
from latprof.datasets.spaces.mnasnet import MnasNetSpace
from latprof.datasets.spaces.nasbench201 import NASBench201Space
from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace
from latprof.datasets.spaces.ofa_mobilenetv3 import OFAMobileNetV3Space
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.datasets.spaces.proxyless_cifar import ProxylessCifarSpace
from latprof.errors import InvalidValueError, UnknownNameError

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace

_CLASSES: tuple[type[SearchSpace], ...] = (
    FBNetSpace,
    MnasNetSpace,
    NASBench201Space,
    NASBenchMacroSpace,
    OFAMobileNetV3Space,
    ProxylessCifarSpace,
    ProxylessSpace,
)
_SPACES: dict[str, Callable[..., SearchSpace]] = {space.name: space for space in _CLASSES}
#: Spaces that are made of another one, which they take as ``base``.
_OF_ANOTHER: dict[str, Callable[..., SearchSpace]] = {MixedPrecisionSpace.name: MixedPrecisionSpace}


def space_names() -> list[str]:
    """Names of the spaces that stand for themselves, sorted."""
    return sorted(_SPACES)


def get_space(name: str, **options: Any) -> SearchSpace:
    """Make a search space, for example ``get_space("proxyless", resolution=192)``.

    ``get_space("mixed-precision", base="proxyless")`` is one that is made of another.

    Raises UnknownNameError, which lists what exists, and InvalidValueError for unknown options.
    """
    spaces = _SPACES | _OF_ANOTHER
    if not isinstance(name, str) or name not in spaces:
        raise UnknownNameError("space", str(name), spaces)
    known = list(inspect.signature(spaces[name]).parameters)
    for option in options:
        if option not in known:
            raise InvalidValueError(
                f"space {name} has no option {option!r}", field=option, expected=", ".join(known)
            )
    try:
        return spaces[name](**options)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidValueError(f"space {name}: {error}") from None


def space_from_description(text: str) -> SearchSpace:
    """Rebuild a space from :attr:`SearchSpace.description`."""
    try:
        values = json.loads(text)
        name, options = str(values["name"]), dict(values["options"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidValueError(
            "not the description of a search space", got=str(text)[:80]
        ) from None
    if "name" in options:
        raise InvalidValueError(f"space {name} has no option 'name'", field="name")
    return get_space(name, **options)
