"""Who did what, kept by the database itself from being changed or removed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_WITHOUT_CHANGES = """
CREATE TRIGGER audit_without_changes BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END
"""
_WITHOUT_REMOVALS = """
CREATE TRIGGER audit_without_removals BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END
"""


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "audit",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("who", sa.String(600), nullable=False),
        sa.Column("action", sa.String(30), nullable=False),
        sa.Column("environment", sa.String(12)),
        sa.Column("owner", sa.String(600), nullable=False),
        sa.Column("build", sa.String(12)),
        sa.Column("about", sa.JSON, nullable=False),
    )
    for column in ("created", "who", "environment"):
        op.create_index(f"ix_audit_{column}", "audit", [column])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_WITHOUT_CHANGES)
        op.execute(_WITHOUT_REMOVALS)


def downgrade() -> None:
    """Take this step back.  The audit log goes; who wants to keep it reads it first."""
    op.drop_table("audit")
