"""The tables of a store. A change here raises :data:`SCHEMA_VERSION`.

Version 1 had neither checksums nor ledgers, and made the two tables of searches with the first
search. Version 2 has a checksum in every row (:mod:`latprof.measurement.store.checked_rows`), and
counts of rows beside the tables (:mod:`latprof.measurement.store.ledgers`): what is changed and
what is missing is seen. Version 3 has the versions of each target's constant, and raw runs say what
they were given of the processor. Stores of older versions are read as they are, and upgraded before
they are written to (:mod:`latprof.measurement.store.upgrade`).
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    false,
)

#: Written into every store; a store of a version unknown here is refused, never guessed at.
SCHEMA_VERSION = 3

metadata = MetaData()


def _identity() -> Column[int]:
    """A row's number, from 1 without gaps: given by the ledger, not by the database."""
    return Column("id", Integer, primary_key=True, autoincrement=False)


def _checksum() -> Column[str]:
    """Of the row's other columns."""
    return Column("checksum", String(16), nullable=False)


#: One row a fact about the store itself: ``schema_version``, ``created_by``.
meta = Table(
    "latprof_meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

#: ``key`` is :attr:`Target.key`. ``reference_ms`` is the first constant, NULL until it is frozen.
targets = Table(
    "targets",
    metadata,
    _identity(),
    Column("key", Text, nullable=False, unique=True),
    Column("reference", Text, nullable=False),
    Column("reference_ms", Float),
    _checksum(),
)

#: The versions of a target's constant, from 1: the last one holds. ``how`` is JSON: doubt, ties of
#: the other references of the family, evidence. Version 1 has a row only where it was frozen with
#: this schema.
constants = Table(
    "constants",
    metadata,
    _identity(),
    Column("target_id", ForeignKey("targets.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("reference_ms", Float, nullable=False),
    Column("how", Text, nullable=False),
    _checksum(),
    UniqueConstraint("target_id", "number", name="one_constant"),
)

subjects = Table(
    "subjects",
    metadata,
    _identity(),
    Column("kind", String(16), nullable=False),
    Column("space", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("name", Text, nullable=False),
    _checksum(),
    UniqueConstraint("kind", "space", "key", name="subject_identity"),
)

#: One row a run of ``latprof collect``: what was asked for, and the host it ran on.
campaigns = Table(
    "campaigns",
    metadata,
    _identity(),
    Column("target_id", ForeignKey("targets.id"), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("plan", Text, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("host", Text, nullable=False),
    _checksum(),
)

#: One row a visit. ``samples`` is JSON, raw runs in ms; NULL exactly where ``failure_code`` is not.
measurements = Table(
    "measurements",
    metadata,
    _identity(),
    Column("subject_id", ForeignKey("subjects.id"), nullable=False),
    Column("target_id", ForeignKey("targets.id"), nullable=False),
    Column("campaign_id", ForeignKey("campaigns.id")),
    Column("label", Integer, nullable=False),
    Column("visit", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("wall_s", Float, nullable=False),
    Column("load_s", Float, nullable=False),
    Column("process", Text, nullable=False),
    Column("samples", Text),
    Column("disturbed", Boolean, nullable=False),
    Column("failure_code", String(32)),
    Column("failure_message", Text),
    Column("conditions", Text, nullable=False),
    _checksum(),
)

_counts = and_(measurements.c.failure_code.is_(None), measurements.c.disturbed == false())
#: A visit counts once, however many processes collect into the store.
Index(
    "one_visit",
    measurements.c.target_id,
    measurements.c.subject_id,
    measurements.c.label,
    measurements.c.visit,
    unique=True,
    sqlite_where=_counts,
    postgresql_where=_counts,
)

#: One row a network whose kernels were timed; ``samples`` as in measurements, profiler on.
kernel_profiles = Table(
    "kernel_profiles",
    metadata,
    _identity(),
    Column("subject_id", ForeignKey("subjects.id"), nullable=False),
    Column("target_id", ForeignKey("targets.id"), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("process", Text, nullable=False),
    Column("samples", Text, nullable=False),
    Column("kernel_count", Integer, nullable=False),
    _checksum(),
    UniqueConstraint("subject_id", "target_id", name="one_profile"),
)

#: The kernels of a profile in the order they ran; shapes and operators are JSON.
kernels = Table(
    "kernels",
    metadata,
    _identity(),
    Column("profile_id", ForeignKey("kernel_profiles.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("operators", Text, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("input_shapes", Text, nullable=False),
    Column("output_shapes", Text, nullable=False),
    _checksum(),
    UniqueConstraint("profile_id", "position", name="one_kernel"),
)

#: One row a search. ``plan`` is JSON: all that its steps follow from; ``ended_at`` is NULL until it
#: is done.
searches = Table(
    "searches",
    metadata,
    _identity(),
    Column("plan", Text, nullable=False, unique=True),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    _checksum(),
)

#: The steps of a search in their order; ``architecture`` is the space's spelling.
steps = Table(
    "search_steps",
    metadata,
    _identity(),
    Column("search_id", ForeignKey("searches.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("architecture", Text, nullable=False),
    Column("accuracy", Float, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("bound_ms", Float, nullable=False),
    _checksum(),
    UniqueConstraint("search_id", "number", name="one_step"),
)

#: How many rows a table has: all of them (``parent`` 0, with the largest id given so far), and
#: those of one parent, the column that :data:`PARENTS` names.
ledgers = Table(
    "latprof_ledgers",
    metadata,
    Column("table_name", String(64), primary_key=True),
    Column("parent", Integer, primary_key=True, autoincrement=False),
    Column("row_count", Integer, nullable=False),
    Column("last_id", Integer, nullable=False),
)

#: The tables whose rows are checked, parents before children.
CHECKED = (
    *(targets, constants, subjects, campaigns, measurements),
    *(kernel_profiles, kernels, searches, steps),
)

#: Rows of these are read by the parent that the column names, and counted for each. A profile
#: counts its kernels itself.
PARENTS = {
    "constants": "target_id",
    "campaigns": "target_id",
    "measurements": "target_id",
    "kernel_profiles": "target_id",
    "search_steps": "search_id",
}

#: What version 1 did not have.
ADDED_COLUMNS = frozenset({"checksum", "kernel_count"})


def has_table(version: int, table: Table) -> bool:
    """Whether stores of a version have a table, which may be empty."""
    return version >= {constants.name: 3, ledgers.name: 2}.get(table.name, 1)


def tables_of(version: int, present: Collection[str]) -> list[Table]:
    """The checked tables that a store of a version has, or has lost; ``present`` are there."""
    made_with_the_first_search = {searches.name, steps.name}
    found = [table for table in CHECKED if has_table(version, table)]
    if version == 1 and not made_with_the_first_search & {*present}:
        return [table for table in found if table.name not in made_with_the_first_search]
    return found
