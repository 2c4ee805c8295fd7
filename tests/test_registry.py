"""Names of spaces, profilers, predictors and searchers, and what other packages' may do to them."""

import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest

from latprof.datasets.spaces.base import SearchSpace
from latprof.datasets.spaces.named import get_space, space_from_description, space_names
from latprof.errors import EntryPointError, InvalidValueError, UnknownNameError
from latprof.predictors.base import Predictor
from latprof.profilers.base import Profiler
from latprof.profilers.targets import availabilities, profiler_class, profiler_classes
from latprof.registry import (
    PREDICTORS,
    PROFILERS,
    SEARCHERS,
    SPACES,
    entry_point_problems,
    make,
    option_names,
    registered_roots,
)
from latprof.searchers.base import Searcher
from latprof.workflows.doctor import doctor

#: Those with names of latprof's own.
WITH_OWN = [SPACES, PROFILERS, PREDICTORS, SEARCHERS]
BASES = {
    "space": SearchSpace,
    "target": Profiler,
    "predictor": Predictor,
    "search method": Searcher,
}


@pytest.mark.parametrize("registry", WITH_OWN, ids=lambda r: r.group)
def test_every_name_leads_to_a_class_that_has_it(registry):
    for name in registry.names(special=True):
        found = registry.load(name, BASES[registry.kind])
        assert issubclass(found, BASES[registry.kind])
        assert getattr(found, registry.named_by) == name


@pytest.mark.parametrize("registry", WITH_OWN, ids=lambda r: r.group)
def test_an_unknown_name_lists_those_there_are(registry):
    name = registry.names()[0]
    with pytest.raises(UnknownNameError, match=f"did you mean {name!r}") as caught:
        registry.load(name + "x", object)
    assert caught.value.known == registry.names(special=True)
    assert name + "x" not in registry
    assert name in registry


def test_listing_names_imports_nothing_of_what_they_lead_to():
    code = (
        "from latprof.registry import REGISTRIES, entry_point_problems\n"
        "import sys\n"
        "for registry in REGISTRIES: registry.names(special=True)\n"
        "entry_point_problems()\n"
        "rooms = ('datasets', 'profilers', 'predictors', 'searchers')\n"
        "print([m for m in sys.modules if m.startswith(tuple(f'latprof.{r}' for r in rooms))])\n"
        "print(sorted({'numpy', 'onnx', 'torch', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


# Other packages' ---------------------------------------------------------------------------

OWN = """
from latprof.datasets.spaces.proxyless import ProxylessSpace

class OwnSpace(ProxylessSpace):
    name = "own"

class OtherName(ProxylessSpace):
    name = "another"

class NoSpace:
    name = "no-space"
"""


def test_a_package_adds_a_name(latprof_distribution):
    latprof_distribution("own-spaces", {"own": OWN}, {"latprof.spaces": {"own": "own:OwnSpace"}})

    assert "own" in space_names()
    own: Any = get_space("own", resolution=64)
    assert own.resolution == 64
    assert SPACES.distribution("own") == "own-spaces"
    assert entry_point_problems() == []
    with pytest.raises(UnknownNameError, match="did you mean 'own'"):
        get_space("owm")


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("nowhere:OwnSpace", "the module nowhere is not installed"),
        ("own:Missing", "AttributeError"),
        ("own:NoSpace", "no subclass of SearchSpace"),
        ("own:OtherName", "the name of own:OtherName is 'another'"),
        ("raising:OwnSpace", "ValueError: this module is broken"),
        ("not a place", "AttributeError"),
    ],
)
def test_what_is_broken_names_its_package_and_breaks_nothing_else(
    latprof_distribution, place, reason
):
    modules = {"own": OWN, "raising": "raise ValueError('this module is broken')"}
    latprof_distribution("broken-spaces", modules, {"latprof.spaces": {"broken": place}})

    assert "broken" in space_names()
    with pytest.raises(EntryPointError, match=reason) as caught:
        get_space("broken")
    assert caught.value.distribution == "broken-spaces"
    assert "uninstall broken-spaces" in str(caught.value)
    assert get_space("proxyless").name == "proxyless"


def test_names_of_latprof_stay_its_own_and_the_clash_is_told(latprof_distribution):
    points = {"latprof.spaces": {"proxyless": "own:OwnSpace"}}
    latprof_distribution("greedy", {"own": OWN}, points)

    assert type(get_space("proxyless")).__module__ == "latprof.datasets.spaces.proxyless"
    assert space_names().count("proxyless") == 1
    (problem,) = entry_point_problems()
    assert problem.distribution == "greedy"
    assert "latprof has a space of the name 'proxyless'" in str(problem)
    (check,) = [check for check in doctor().checks if check.name == "other packages"]
    assert check.status == "WARN"
    assert "greedy" in check.finding


def test_a_class_of_latprof_with_another_name_is_no_code_of_somebody_elses(latprof_distribution):
    points = {"latprof.profilers": {"fake:own": "latprof.testing.fakes:FakeProfiler"}}
    latprof_distribution("fakes", {}, points)
    latprof_distribution("own-spaces", {"own": OWN}, {"latprof.spaces": {"own": "own:OwnSpace"}})

    assert "latprof" not in registered_roots()
    assert "own" in registered_roots()


def test_a_name_of_two_packages_is_nobodys(latprof_distribution):
    points = {"latprof.spaces": {"own": "own:OwnSpace"}}
    latprof_distribution("first", {"own": OWN}, points)
    latprof_distribution("second", {"own": OWN}, points)

    with pytest.raises(EntryPointError, match="first, second"):
        get_space("own")
    assert [problem.distribution for problem in entry_point_problems()] == ["first, second"]


def test_a_package_whose_files_cannot_be_read_is_passed_over(latprof_distribution):
    folder = latprof_distribution(
        "own-spaces", {"own": OWN}, {"latprof.spaces": {"own": "own:OwnSpace"}}
    )
    bad = latprof_distribution("unreadable", {}, {})
    (bad / "unreadable-1.0.dist-info" / "entry_points.txt").write_text(
        "[latprof.spaces]\nno sign\n"
    )
    nameless = folder / "nameless-1.0.dist-info"
    nameless.mkdir()
    (nameless / "METADATA").write_text("Metadata-Version: 2.1\n")

    assert "own" in space_names()
    assert get_space("own").name == "own"


def test_packages_are_read_once_for_many_names(latprof_distribution, monkeypatch, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(OWN)
    get_space(f"{mine}:OwnSpace")  # from now on its folder is on the path while own code runs
    folder = latprof_distribution(
        "own-spaces", {"own": OWN}, {"latprof.spaces": {"own": "own:OwnSpace"}}
    )
    get_space("own")  # imports it, which may write its bytecode beside it
    monkeypatch.setattr(sys, "path", [str(folder)])  # the others' folders may change at any time
    get_space("own")
    reads = []
    found = metadata.distributions

    def read():
        reads.append(1)
        return found()

    monkeypatch.setattr(metadata, "distributions", read)

    for _ in range(3):
        assert get_space("own").name == "own"
    assert not reads
    latprof_distribution("more-spaces", {}, {"latprof.spaces": {"more": "nowhere:Space"}})
    assert "more" in space_names()
    assert reads


def test_a_broken_profiler_is_listed_with_what_is_wrong(latprof_distribution):
    points = {"latprof.profilers": {"npu:own": "nowhere:Npu", "npu:N:own": "nowhere:Npu"}}
    latprof_distribution("npu-latprof", {}, points)

    assert availabilities()["npu:own"].state == "missing"
    assert "npu-latprof" in availabilities()["npu:own"].detail
    assert "npu:own" not in profiler_classes()
    assert profiler_class("cpu:onnxruntime").spelling == "cpu:onnxruntime"
    assert profiler_class("cuda:1:torch").spelling == "cuda:1:torch"
    with pytest.raises(EntryPointError, match="npu-latprof"):
        profiler_class("npu:3:own")


def test_a_description_of_a_missing_space_says_to_install_it():
    with pytest.raises(UnknownNameError, match="install the package that brings it"):
        space_from_description('{"name": "theirs", "options": {}}')


# Options -----------------------------------------------------------------------------------


class Base:
    def __init__(self, least=1, widths: "tuple[int, ...]" = (1, 2)):
        self.options = least, widths


class Derived(Base):
    def __init__(self, given, share: "float | None" = 0.5, *, name="x", **options):
        super().__init__(**options)
        self.given, self.share, self.name = given, share, name


def test_options_are_handed_on_to_the_base_and_checked_as_its_own():
    made = make("a thing", Derived, {"share": 1, "least": 3, "widths": [5]}, "given")
    assert (made.given, made.share, made.options) == ("given", 1, (3, [5]))
    assert make("a thing", Derived, {"share": None}, "given").share is None
    assert option_names(Derived, 1) == ["share", "name", "least", "widths"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": 1}, "a thing has no option 'colour' .expected share, name, least, widths"),
        ({"share": "much"}, "option 'share' of a thing is of another type .expected such as 0.5"),
        ({"share": float("nan")}, "'share'"),
        ({"share": True}, "'share'"),
        ({"name": 1}, "'name'"),
        ({"least": 1.5}, "'least'"),
        ({"least": True}, "'least'"),
        ({"widths": 3}, "'widths'"),
        ({"widths": ["a"]}, "'widths'"),
    ],
)
def test_options_that_are_unknown_or_of_another_type_are_refused(options, message):
    with pytest.raises(InvalidValueError, match=message):
        make("a thing", Derived, options, "given")


def test_an_option_that_is_missing_is_named():
    with pytest.raises(InvalidValueError, match="a thing needs the option 'given'"):
        make("a thing", Derived, {})


def test_what_the_four_tables_hold():
    assert set(SEARCHERS.special) == {"fbnet", "lightnas", "proxyless-g", "proxyless-r"}
    assert set(PREDICTORS.special) == {"transfer"}
    assert set(SPACES.special) == {"mixed-precision"}
    assert PROFILERS.names() == sorted(PROFILERS.built_in)
