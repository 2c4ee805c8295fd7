"""The order of the files, of which two run at a time: those that take longest begin."""

FIRST = ("test_phone_journey", "test_farm", "test_phone_commands", "test_network")


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
