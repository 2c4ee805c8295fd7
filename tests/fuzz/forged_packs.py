"""Ways to forge a pack, for :mod:`tests.fuzz.pack_mutants`.

What the files say changes and every digest is computed again: a reader has to check what it is
told, since whoever can write a pack can write its digests.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latprof.datasets.spaces.named import get_space
from latprof.predictors.pack.archive import MANIFEST, digest, write_archive
from tests.fuzz.damaged_packs import Members, Random, members_of

#: The packs that are spoilt: all that the tests keep.
PACKS = Path(__file__).parents[1] / "predictors" / "pack" / "packs"
_DIGEST = "manifest.sha256"
_CALIBRATION = "predictor/calibration.json"
_TABLE = "predictor/table.json"


@dataclass
class Forged:
    """A pack's files as text and values; what is changed gets fitting digests when written."""

    manifest: dict[str, Any]
    files: Members

    @classmethod
    def of(cls, path: Path) -> Forged:
        members = members_of(path.read_bytes())
        del members[_DIGEST]
        return cls(json.loads(members.pop(MANIFEST)), members)

    def names(self) -> list[str]:
        """The JSON files that are read when a pack is loaded."""
        return [name for name in self.files if not name.startswith("extra/")]

    def values(self, name: str) -> dict[str, Any]:
        return self.manifest if name == MANIFEST else dict(json.loads(self.files[name]))

    def put(self, name: str, values: Any) -> None:
        """Store values; a :class:`Raw` among them is written as it is."""
        if name == MANIFEST:
            self.manifest = values
        else:
            self.files[name] = _text(values)

    def write(self, path: Path) -> None:
        stated = {
            name: {"sha256": digest(data), "size": len(data)} for name, data in self.files.items()
        }
        if isinstance(self.manifest.get("files"), dict):
            self.manifest["files"] = stated
        write_archive(path, _text(self.manifest), self.files)


@dataclass(frozen=True)
class Raw:
    """Text that stands in a JSON file as it is, whether or not it is JSON."""

    text: str


def _text(values: Any) -> bytes:
    raw: list[str] = []

    def stand_in(value: object) -> str:
        if not isinstance(value, Raw):
            raise TypeError(str(type(value)))
        raw.append(value.text)
        return f"@{len(raw) - 1}@"

    text = json.dumps(values, default=stand_in)
    for number, each in enumerate(raw):
        text = text.replace(f'"@{number}@"', each)
    return text.encode()


HOSTILE = (
    *("NaN", "Infinity", "1e999", "-1e999", "1e308", "-1e308", "1e-320", "-1", "0", "0.5", "2"),
    *("null", "true", '"3"', '""', "[]", "[1]", "{}", '{"a": 1}', "[[[[1]]]]", "1e13", "1e31"),
    *("9007199254740993", "9223372036854775808", "9" * 400, "9" * 5000, "-" + "9" * 400, "01"),
    *("[" * 3000 + "]" * 3000, "[" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000, "1 1", "", "\\"),
)


def any_value(random: Random, pack: Forged) -> None:
    """Put something hostile in the place of any value of any file."""
    name, values, places = _places(random, pack, inside_lists=bool(random.random() < 0.5))
    owner, key = places[int(random.integers(len(places)))]
    owner[key] = Raw(_any(random, HOSTILE))
    pack.put(name, values)


def any_digit(random: Random, pack: Forged) -> None:
    """Another number nearby: often another valid pack."""
    name, values, places = _places(random, pack)
    numbers = [(owner, key) for owner, key in places if type(owner[key]) in {int, float}]
    if numbers:
        owner, key = numbers[int(random.integers(len(numbers)))]
        change = random.choice([-1.0, 0.5, 1.0, 2.0, 1e-3, 1e6])
        owner[key] = type(owner[key])(owner[key] + change)
    pack.put(name, values)


def any_list(random: Random, pack: Forged) -> None:
    """Give any list another shape."""
    name, values, places = _places(random, pack, inside_lists=False)
    lists = [(owner, key) for owner, key in places if isinstance(owner[key], list)]
    if lists:
        owner, key = lists[int(random.integers(len(lists)))]
        old = owner[key]
        at = int(random.integers(len(old))) if old else 0
        owner[key] = _any(
            random,
            [
                *(old[:-1], old[1:], [*old, *old[-1:]], old[::-1], old * 2, [], [old], old[:at]),
                *([[each] for each in old], dict(enumerate(old)), old[at:] + old[:at], old * 50),
                *([*old[:at], [], *old[at:]], [*old[:at], None, *old[at:]]),
            ],
        )
    pack.put(name, values)


def any_key(random: Random, pack: Forged) -> None:
    """Drop, rename, repeat or add a key of any object."""
    name, values, places = _places(random, pack, inside_lists=False)
    owner, key = places[int(random.integers(len(places)))]
    if isinstance(owner, dict):
        how = int(random.integers(4))
        if how < 2:
            value = owner.pop(key)
            if how:
                owner[f"{key}x"] = value
        else:
            owner[f"more{how}"] = owner[key] if how == 2 else Raw('1, "seed": 1, "seed": 2')
    pack.put(name, values)


def tree_links(random: Random, pack: Forged) -> None:
    """Swap children, close loops, share children, leave the tree, give leaves children."""
    name = _trees_file(pack)
    if name is None:
        any_value(random, pack)
        return
    values = pack.values(name)
    left, right, feature = values["left"], values["right"], values["feature"]
    node = _any(random, [i for i, each in enumerate(feature) if each >= 0] or [0])
    leaf = _any(random, [i for i, each in enumerate(feature) if each < 0])
    other = int(random.integers(-2, 200))
    changed = _any(
        random,
        [
            {"left": {node: right[node]}, "right": {node: left[node]}},
            {"left": {node: other}},
            {"right": {node: left[node]}},
            {"left": {leaf: other}, "right": {leaf: other + 1}},
            {"feature": {leaf: 0}},
            {"feature": {node: _any(random, [10**6, -2, -1, 0, 1, 2**40])}},
            {"value": {leaf: _any(random, [1e12, -1e12, 1e13, 1e300, 3.5e38])}},
        ],
    )
    for key, entries in changed.items():
        for number, value in entries.items():
            values[key][number] = value
    pack.put(name, values)


def tree_sizes(random: Random, pack: Forged) -> None:
    """Swap and merge trees' sizes, repeat all trees, name other features."""
    name = _trees_file(pack)
    if name is None:
        any_list(random, pack)
        return
    values = pack.values(name)
    sizes, names = values["sizes"], values["feature_names"]
    how = int(random.integers(4))
    if how == 0:
        first, second = (int(i) for i in random.integers(len(sizes), size=2))
        sizes[first], sizes[second] = sizes[second], sizes[first]
    elif how == 1:
        values["sizes"] = [sum(sizes)]
    elif how == 2:
        times = int(random.integers(2, 60))
        for key in ("sizes", "feature", "left", "right", "value"):
            values[key] *= times
    else:
        values["feature_names"] = _any(random, [[], names[::-1], names[:-1], ["x"] * 10**5])
    pack.put(name, values)


def _trees_file(pack: Forged) -> str | None:
    """The file of a pack's trees; None where it has none."""
    name = next((name for name in pack.files if name.endswith("trees.json")), None)
    return name if name and pack.values(name)["sizes"] else None


def calibration(random: Random, pack: Forged) -> None:
    """Wrong ranks and scores, negative counts, another region, none at all, or one too many."""
    if _CALIBRATION not in pack.files:
        pack.put(_CALIBRATION, Forged.of(PACKS / "format2-linear.pack").values(_CALIBRATION))
        if random.random() < 0.3:
            return
    values = pack.values(_CALIBRATION)
    key = _any(random, ["ranks", "scores", "rows", "difficulty", "centre", "whitening", "none"])
    if key == "none":
        del pack.files[_CALIBRATION]
        return
    if key in {"ranks", "scores"}:
        old = values[key]
        at = int(random.integers(len(old)))
        changed = _any(random, [-1, 0, old[0], old[-1], 10**9, 1e29, 1e31, -1e29, 0.5, 2**53])
        values[key] = _any(
            random, [old[::-1], [old[0]] * len(old), [*old[:at], changed, *old[at + 1 :]]]
        )
        if random.random() < 0.3:  # the rest is made to fit
            values[key] = sorted(values[key])
            values["rows"] = max(values["ranks"])
    elif key == "rows":
        values["rows"] = _any(random, [-5, 0, 1, values["rows"] + 1, 2**53, 2**60, 10.5])
    elif key == "difficulty":
        values[key]["slope"] = _any(random, [-100, 100, 101, 1e300, "1", None])
        values[key]["table"] = _any(random, [None, {}, {"intercept_ms": 0, "entries_ms": []}, 3])
    elif key == "centre":
        values[key] = [_any(random, [0, 1e29, 1e31, -1e300])] * len(values[key])
    else:
        wide = int(random.integers(1, 400))
        large = _any(random, [0, 1e59, -1e59, 1e61, 1e300])
        values[key] = [
            [large] * (wide if random.random() < 0.5 else len(row)) for row in values[key]
        ]
    pack.put(_CALIBRATION, values)


def interactions(random: Random, pack: Forged) -> None:
    """Tables over decisions that are not there, too many, too large, or in another order."""
    if _TABLE not in pack.files:
        any_list(random, pack)
        return
    values = pack.values(_TABLE)
    decisions = _any(
        random,
        [
            *([0], [0, 1], [1, 0], [0, 0], [], [-1], [10**6], [2**62], [0.5], ["0"], [[0]], [5]),
            *([20], [0, 5], list(range(3)), list(range(21)), list(range(6)), list(range(400))),
        ],
    )
    length = _any(random, [0, 1, 3, 5, 6, 7, 25, 36, 42, 49, 343, 15_625])
    factor = {"decisions": decisions, "table_ms": [_any(random, [0.0, 1.0, 1e12, 1e13])] * length}
    values["interactions"] = [factor] * _any(random, [1, 2, 40, 1500, 1501])
    pack.put(_TABLE, values)


_SPACES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("nasbench201", {}),
    ("nasbench201", {"cells_per_stage": 100, "channels": 4096, "resolution": 4096}),
    ("nasbench201", {"cells_per_stage": 10**9}),
    ("ofa-mobilenetv3", {}),
    ("ofa-mobilenetv3", {"resolutions": list(range(32, 32 + 256 * 4, 4)), "width_multiplier": 10}),
    ("ofa-mobilenetv3", {"resolutions": list(range(32, 4000))}),
    ("ofa-mobilenetv3", {"resolutions": [224] * 3, "width_multiplier": 1e300}),
    ("mnasnet", {}),
    ("mnasnet", {"base_depths": [100] * 7, "base_widths": [65_536] * 7}),
    ("mnasnet", {"base_depths": [10**9] * 7}),
    ("proxyless-cifar", {}),
    ("proxyless-cifar", {"blocks_per_stage": 100, "final_channels": 65_536}),
    ("fbnet", {"resolution": 8192, "num_classes": 65_536, "head_width": 65_536}),
    ("fbnet", {"resolution": 10**30}),
    ("proxyless", {"resolution": 2**31}),
    ("proxyless", {"widths": [10**9] * 9}),
    ("proxyless", {"widths": [10**300] * 9}),
    ("proxyless", {"widths": "123456789", "num_classes": 10**100}),
    ("proxyless", {"widths": [[1]] * 9, "num_classes": "many"}),
    ("proxyless", {"widths": [0.5] * 9}),
    ("proxyless", {"widths": [-1] * 9, "resolution": -224}),
    ("proxyless", {"resolution": 1e999}),
    ("proxyless", {"name": "proxyless", "self": 1}),
    ("proxyless", {"resolution": None}),
    ("", {}),
)


def space(random: Random, pack: Forged) -> None:
    """Another space, a space of absurd size, options that are none, or no description at all."""
    name, options = _any(random, _SPACES)
    description = json.dumps({"name": name, "options": options})
    if name:
        with contextlib.suppress(Exception):  # in canonical form, where there is such a space
            description = get_space(name, **options).description
    else:
        description = _any(
            random, ["", "[" * 99_000, "9" * 5000, '{"name": 1, "options": 2}', "x" * 200_000]
        )
    pack.manifest["space"] = description


def identity(random: Random, pack: Forged) -> None:
    """Another kind of predictor, other parameters, another version."""
    how = int(random.integers(3))
    if how == 0:
        name = _any(random, ["linear", "lookup-table", "xgboost", "hybrid", "x", "", "os.system"])
        pack.manifest["predictor"]["name"] = name
    elif how == 1:
        pack.manifest["predictor"]["parameters"] = _any(
            random, [{}, {"seed": 1}, {"seed": 2**70}, {"space": "x"}, {"x": 1}, [], None]
        )
    else:
        pack.manifest["format_version"] = _any(random, [-1, 0, 1, 2, 3, 2**70, 1.5, "1", None])


def contents(random: Random, pack: Forged) -> None:
    """Replace a whole file by something that is no text, no object, or very long."""
    name = _any(random, [n for n in pack.files if not n.startswith("extra/")])
    pack.files[name] = _any(
        random,
        [
            *(b"", b"\xff\xfe", b"\xef\xbb\xbf{}", b"[]", b"{}", b"null", b"3", b'"x"', b"{"),
            *(b"[" * 10**6, b"{" * 10**6, b'{"a":[' * 10**5, b" " * 10**6, b"-", b"\x00" * 1000),
            *(pack.files[name] * 2, pack.files[name].decode().encode("utf-16"), b"9" * 10**6),
            b'{"scores": [' + b"[]," * 10**6 + b"[]]}",
        ],
    )


FORGERIES: tuple[Callable[[Random, Forged], None], ...] = (
    *(
        any_value,
        any_value,
        any_value,
        any_digit,
        any_list,
        any_list,
        any_key,
        tree_links,
        tree_sizes,
    ),
    *(calibration, calibration, interactions, interactions, space, identity, contents),
)


def _any(random: Random, among: Any) -> Any:
    return among[int(random.integers(len(among)))]


def _places(
    random: Random, pack: Forged, *, inside_lists: bool = True
) -> tuple[str, dict[str, Any], list[tuple[Any, Any]]]:
    """Where a value stands in one of the files: (owner, key) of each.

    Not below the manifest's list of files, which is made to fit again.
    """
    name = _any(random, [MANIFEST, *pack.names()])
    values = pack.values(name)
    found: list[tuple[Any, Any]] = []
    left: list[Any] = [values]
    while left:
        owner = left.pop()
        keys = list(owner) if isinstance(owner, dict) else range(len(owner))
        for key in keys:
            if isinstance(owner, dict) or inside_lists:
                found.append((owner, key))
            if isinstance(owner[key], dict | list) and not (owner is values and key == "files"):
                left.append(owner[key])
    return name, values, found
