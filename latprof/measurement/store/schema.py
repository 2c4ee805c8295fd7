"""The tables of a store. A change here raises :data:`SCHEMA_VERSION`."""

from __future__ import annotations

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

#: Written into every store; a store of another version is refused, never guessed at.
SCHEMA_VERSION = 1

metadata = MetaData()

#: One row a fact about the store itself: ``schema_version``, ``created_by``.
meta = Table(
    "latprof_meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

#: ``key`` is :attr:`Target.key`. ``reference_ms`` is NULL until the constant is frozen.
targets = Table(
    "targets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("reference", Text, nullable=False),
    Column("reference_ms", Float),
)

subjects = Table(
    "subjects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("space", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("name", Text, nullable=False),
    UniqueConstraint("kind", "space", "key", name="subject_identity"),
)

#: One row a run of ``latprof collect``: what was asked for, and the host it ran on.
campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("target_id", ForeignKey("targets.id"), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("plan", Text, nullable=False),
    Column("protocol", Text, nullable=False),
    Column("host", Text, nullable=False),
)

#: One row a visit. ``samples`` is JSON, raw runs in ms; NULL exactly where ``failure_code`` is not.
measurements = Table(
    "measurements",
    metadata,
    Column("id", Integer, primary_key=True),
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
    Column("id", Integer, primary_key=True),
    Column("subject_id", ForeignKey("subjects.id"), nullable=False),
    Column("target_id", ForeignKey("targets.id"), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("process", Text, nullable=False),
    Column("samples", Text, nullable=False),
    UniqueConstraint("subject_id", "target_id", name="one_profile"),
)

#: The kernels of a profile in the order they ran; shapes and operators are JSON.
kernels = Table(
    "kernels",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("profile_id", ForeignKey("kernel_profiles.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("operators", Text, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("input_shapes", Text, nullable=False),
    Column("output_shapes", Text, nullable=False),
    UniqueConstraint("profile_id", "position", name="one_kernel"),
)
