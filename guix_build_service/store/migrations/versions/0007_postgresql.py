"""On PostgreSQL what SQLite has: an audit log that is only added to, and names in the order of their characters."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_REFUSAL = """
CREATE FUNCTION audit_is_only_added_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit log is only added to'; END $$
"""
_TRIGGER = """
CREATE TRIGGER audit_is_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_is_only_added_to()
"""


def upgrade() -> None:
    """Apply this step."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("environments", "sorted_as", type_=sa.String(600, collation="C"))
        op.execute(_REFUSAL)
        op.execute(_TRIGGER)


def downgrade() -> None:
    """Take this step back; nothing goes."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER audit_is_only_added_to ON audit")
        op.execute("DROP FUNCTION audit_is_only_added_to()")
        op.alter_column("environments", "sorted_as", type_=sa.String(600))
