"""Stores that a test changes by SQL, as if they had been written so: their checksums fit again."""

from pathlib import Path

import sqlalchemy as sa

from latprof.measurement.store import schema
from latprof.measurement.store.checked_rows import checked_table
from latprof.measurement.store.ledgers import begin_ledgers, count_all


def reseal(path: Path) -> None:
    """Write the checksum of every row and the counts of rows anew."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for table in schema.CHECKED:
            checked = checked_table(table)
            for row in connection.execute(sa.select(table)).mappings().all():
                sealed = checked.sealed({**row})
                connection.execute(sa.update(table).where(table.c.id == row["id"]).values(sealed))
        connection.execute(sa.delete(schema.ledgers))
        begin_ledgers(connection)
        for table in schema.CHECKED:
            count_all(connection, table)
    engine.dispose()
