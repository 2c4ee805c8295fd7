"""The database of measurements."""

from latprof.measurement.store.store import Store, StoredTarget

__all__ = ["Store", "StoredTarget"]
