"""A test phone a file; the files that take longest begin, since three run at a time."""

import pytest
from phone_station import Station

FIRST = (
    "test_farm",
    "test_phone_journey",
    "test_phone_troubles",
    "test_network",
    "test_phone_commands",
)
#: Room on the phone, which one test fills.
SPACE_MIB = 160


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    with Station(tmp_path_factory.mktemp("station"), space_mib=SPACE_MIB) as made:
        made.take_library()
        yield made


@pytest.fixture
def cool(station):
    yield
    station.phone.answer("dumpsys.thermalservice", station.phone.profile.thermals)
