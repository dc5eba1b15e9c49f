"""The tables, as the newest migration leaves them."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)


class Moment(TypeDecorator[datetime]):
    """A moment in UTC; SQLite knows no time zones, so that one is kept in the code."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn a moment into what the database keeps."""
        del dialect
        return value.astimezone(UTC).replace(tzinfo=None) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn what the database kept into a moment."""
        del dialect
        return value.replace(tzinfo=UTC) if value is not None else None


metadata = MetaData()

environments = Table(
    "environments",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("name", String(200), nullable=False),
    # The name as names are put in order and searched: neither database does it beyond English letters.
    Column("sorted_as", String(600).with_variant(String(600, collation="C"), "postgresql"), nullable=False),
    Column("description", Text, nullable=False),
    Column("repository", String(600), nullable=False),
    Column("ref", String(200), nullable=False),
    Column("subdirectory", String(600), nullable=False),
    Column("owner", String(255), nullable=False),
    Column("visibility", String(20), nullable=False),
    Column("memory", BigInteger),
    Column("cpu", Float),
    # No foreign key: an environment and its current version would each need the other first.
    Column("current", String(12)),
    # When that was asked for; empty where it was before this was noted.
    Column("chosen", Moment),
    Column("created", Moment, nullable=False),
    Column("updated", Moment, nullable=False),
    Index("environments_of_owner", "owner", "repository"),
    Index("environments_by_name", "sorted_as", "id"),
    Index("environments_of_repository", "repository"),
)

sharing = Table(
    "environment_groups",
    metadata,
    Column("environment", String(12), ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True),
    Column("place", Integer, primary_key=True),
    # Named so because GROUP is a word of SQL.
    Column("name", String(255), nullable=False, index=True),
)

members = Table(
    "environment_members",
    metadata,
    Column("environment", String(12), ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(10), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("role", String(10), nullable=False),
    Index("environments_of_member", "kind", "name"),
)

versions = Table(
    "versions",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("environment", String(12), ForeignKey("environments.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("build", String(12), nullable=False),
    Column("commit", String(64), nullable=False),
    Column("ref", String(200), nullable=False),
    Column("subdirectory", String(600), nullable=False),
    Column("key", String(64), nullable=False, index=True),
    Column("profile", String(300), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("kernels", JSON, nullable=False),
    Column("packages", JSON, nullable=False),
    Column("created", Moment, nullable=False),
    Column("pinned", Boolean, nullable=False),
    # Since when its profile is no longer kept; empty where it is.
    Column("let_go", Moment),
    Column("let_go_why", String(300), nullable=False),
)

builds = Table(
    "builds",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("repository", String(600), nullable=False),
    Column("ref", String(200), nullable=False),
    Column("subdirectory", String(600), nullable=False),
    Column("commit", String(64)),
    Column("request_key", String(64), index=True),
    Column("state", String(20), nullable=False, index=True),
    Column("force", Boolean, nullable=False),
    Column("requested_by", String(255), nullable=False),
    Column("evaluated_for", JSON, nullable=False),
    Column("created", Moment, nullable=False, index=True),
    Column("started", Moment),
    Column("finished", Moment),
    # Which of the services runs it.  No foreign key: a service that is gone is what is looked for.
    Column("service", String(12)),
    Column("error", JSON),
    Column("phase", String(200), nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    # Of downloads; all three empty in builds of before they were noted.
    Column("bytes_done", BigInteger),
    Column("bytes_total", BigInteger),
    Column("item", String(200)),
)

waiting = Table(
    "build_environments",
    metadata,
    Column("build", String(12), ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True),
    Column("environment", String(12), ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True),
    Column("joined", Moment, nullable=False),
    Index("builds_of_environment", "environment", "joined"),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("host", String(300), nullable=False),
    Column("key", String(16), nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created", Moment, nullable=False),
    Column("used", Moment),
    Column("refused", Moment),
    Column("kind", String(10), nullable=False),
    Column("fingerprint", String(100), nullable=False),
    UniqueConstraint("owner", "host", "kind", name="credentials_of_owner"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("environment", String(12), ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(16), nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created", Moment, nullable=False),
    Column("used", Moment),
)

audit = Table(
    "audit",
    metadata,
    # What it tells of may be gone, so it refers to nothing.  The database refuses to change or remove its rows, by triggers
    # that a migration that makes this table anew must make again.
    Column("id", String(12), primary_key=True),
    Column("created", Moment, nullable=False, index=True),
    Column("who", String(600), nullable=False, index=True),
    Column("action", String(30), nullable=False),
    Column("environment", String(12), index=True),
    Column("owner", String(600), nullable=False),
    Column("build", String(12)),
    Column("about", JSON, nullable=False),
)

services = Table(
    "services",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("process", JSON, nullable=False),
    Column("seen", Moment, nullable=False),
)

uses = Table(
    "uses",
    metadata,
    Column("profile", String(300), primary_key=True),
    Column("used", Moment, nullable=False),
)

removals = Table(
    "removals",
    metadata,
    # What was deleted and whose files may still lie there, until they do not.
    Column("environment", String(12), primary_key=True),
    Column("keys", JSON, nullable=False),
)
