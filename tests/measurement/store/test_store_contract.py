"""A store in a file, given by its path or as a URL, passes the contract suite."""

import pytest

from latprof.testing.store_contract import StoreContract


class TestSqliteFile(StoreContract):
    @pytest.fixture(params=["path", "url"])
    def location(self, request, tmp_path):
        path = tmp_path / "store.db"
        return path if request.param == "path" else f"sqlite:///{path}"
