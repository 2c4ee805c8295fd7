"""Making a store's tables, and finding out which version's they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import exc

from latprof.errors import StoreError, StoreVersionError
from latprof.measurement.store import schema
from latprof.measurement.store.database import damaged_store, take_turn, translated_error
from latprof.measurement.store.ledgers import begin_ledgers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from latprof.measurement.store.database import OpenedDatabase

#: PostgreSQL's number of the lock under which a store is made.
_LOCK = 0x6C617470726F66
#: What SQLite computes where it seems to read: views, tables of modules, generated columns; and
#: what it does where a row is written.
_COMPUTED = """
SELECT 'the ' || CASE type WHEN 'table' THEN 'virtual table' ELSE type END, name, tbl_name
FROM sqlite_master WHERE type IN ('view', 'trigger') OR (type = 'table' AND rootpage = 0)
"""
_GENERATED = """
SELECT 'the generated column', c.name, m.name
FROM sqlite_master AS m, pragma_table_xinfo(m.name) AS c
WHERE m.type = 'table' AND m.rootpage > 0 AND c.hidden <> 0
"""


def prepare(database: OpenedDatabase, *, create: bool) -> int:
    """The version of a store's schema; with ``create`` its tables are made where there are none.

    Raises StoreError for another program's database and a damaged one, StoreVersionError for a
    version that is not known here.
    """
    try:
        with database.engine.begin() as connection:
            if create and database.is_sqlite:
                # All tables or none: another process may make the same file at this moment.
                take_turn(connection, database.location)
            elif create and database.engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            if database.is_sqlite:
                check_plain(connection, database.location)
            names = set(sa.inspect(connection).get_table_names())
            if schema.meta.name in names:
                return _version(connection, names, database.location)
            if not create or names:
                raise StoreError(f"{database.location} is not a latprof store")
            make_tables(connection)
            return schema.SCHEMA_VERSION
    except exc.DBAPIError as error:
        raise translated_error(error, database.location) from None


def check_plain(connection: sa.Connection, location: str) -> None:
    """Raise StoreError for a file of SQLite that computes what it tells, maybe without an end."""
    for query in (_COMPUTED, _GENERATED):
        for kind, name, table in connection.exec_driver_sql(query):
            own = str(table).lower()
            if own in schema.metadata.tables or own.startswith("latprof_"):
                raise StoreError(
                    f"{location} has {kind} {str(name)[:60]!r}, which no store has",
                    hint="ask who gave you the file; what only reads may have another name",
                )


def make_tables(connection: sa.Connection) -> None:
    """Make the tables of an empty store of this version."""
    schema.metadata.create_all(connection)
    rows = {"schema_version": str(schema.SCHEMA_VERSION), "created_by": "latprof"}
    connection.execute(sa.insert(schema.meta), [{"name": k, "value": v} for k, v in rows.items()])
    begin_ledgers(connection)


def _version(connection: sa.Connection, names: set[str], location: str) -> int:
    stated = _stated_version(connection)
    version = next((v for v in range(1, schema.SCHEMA_VERSION + 1) if stated == str(v)), None)
    if version is None:
        raise StoreVersionError(
            f"{location} was written with another schema",
            expected=f"version {schema.SCHEMA_VERSION} or older",
            got=f"version {str(stated)[:40]}",
            hint="use the latprof version that wrote it, or collect into a new file",
        )
    for table in (schema.ledgers, schema.constants):
        if (table.name in names) != schema.has_table(version, table):
            lacking = f"table {table.name} is missing"
            wrong = f"table {schema.meta.name}: it states version {version}"
            raise damaged_store(location, wrong if table.name in names else lacking)
    return version


def version_of_tables(connection: sa.Connection, names: Collection[str]) -> int:
    """The version that a store's tables have, where what it states cannot be right."""
    columns = {c["name"] for c in sa.inspect(connection).get_columns(schema.measurements.name)}
    if "checksum" not in columns:
        return 1
    if schema.constants.name in names:
        return 3
    return 3 if schema.meta.name in names and _stated_version(connection) == "3" else 2


def _stated_version(connection: sa.Connection) -> str | None:
    query = sa.select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
    return connection.execute(query).scalar()


def missing_rules(connection: sa.Connection, table: sa.Table) -> Iterator[str]:
    """What should be there once and is kept so by no index any more; raises DBAPIError."""
    inspector = sa.inspect(connection)
    found = {tuple(inspector.get_pk_constraint(table.name)["constrained_columns"])}
    found |= {tuple(c["column_names"]) for c in inspector.get_unique_constraints(table.name)}
    indexes = (i for i in inspector.get_indexes(table.name) if i["unique"])
    found |= {tuple(filter(None, i["column_names"])) for i in indexes}
    unique: list[sa.UniqueConstraint | sa.Index] = [
        *(c for c in table.constraints if isinstance(c, sa.UniqueConstraint)),
        *(index for index in table.indexes if index.unique),
    ]
    wanted = [
        tuple(column.name for column in each.columns) for each in (table.primary_key, *unique)
    ]
    for columns in sorted(wanted):
        if columns not in found:
            yield f"no index keeps {', '.join(columns)} from being there twice"
