"""The first tables: environments, versions, builds, and what is still to be removed."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "environments",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("repository", sa.String(600), nullable=False),
        sa.Column("ref", sa.String(200), nullable=False),
        sa.Column("subdirectory", sa.String(600), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("visibility", sa.String(20), nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("memory", sa.BigInteger),
        sa.Column("cpu", sa.Float),
        sa.Column("current", sa.String(12)),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("updated", sa.DateTime, nullable=False),
    )
    op.create_index("environments_of_owner", "environments", ["owner", "repository"])
    op.create_table(
        "versions",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("environment", sa.String(12), sa.ForeignKey("environments.id", ondelete="CASCADE"), nullable=False),
        sa.Column("build", sa.String(12), nullable=False),
        sa.Column("commit", sa.String(64), nullable=False),
        sa.Column("ref", sa.String(200), nullable=False),
        sa.Column("subdirectory", sa.String(600), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("profile", sa.String(300), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("kernels", sa.JSON, nullable=False),
        sa.Column("packages", sa.JSON, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
    )
    op.create_index("ix_versions_environment", "versions", ["environment"])
    op.create_index("ix_versions_key", "versions", ["key"])
    op.create_table(
        "builds",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("repository", sa.String(600), nullable=False),
        sa.Column("ref", sa.String(200), nullable=False),
        sa.Column("subdirectory", sa.String(600), nullable=False),
        sa.Column("commit", sa.String(64)),
        sa.Column("request_key", sa.String(64)),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("force", sa.Boolean, nullable=False),
        sa.Column("requested_by", sa.String(255), nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("started", sa.DateTime),
        sa.Column("finished", sa.DateTime),
        sa.Column("error", sa.JSON),
        sa.Column("phase", sa.String(200), nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
    )
    for column in ("request_key", "state", "created"):
        op.create_index(f"ix_builds_{column}", "builds", [column])
    op.create_table(
        "build_environments",
        sa.Column("build", sa.String(12), sa.ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("environment", sa.String(12), sa.ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("joined", sa.DateTime, nullable=False),
    )
    op.create_index("ix_build_environments_environment", "build_environments", ["environment"])
    op.create_table(
        "removals",
        sa.Column("environment", sa.String(12), primary_key=True),
        sa.Column("keys", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Take this step back: of what a database without tables knows, nothing is left."""
    for table in ("removals", "build_environments", "builds", "versions", "environments"):
        op.drop_table(table)
