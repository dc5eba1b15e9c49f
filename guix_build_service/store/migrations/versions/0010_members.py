"""With whom environments are shared by name, and in which role."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "environment_members",
        sa.Column("environment", sa.String(12), sa.ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("kind", sa.String(10), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("role", sa.String(10), nullable=False),
    )
    op.create_index("environments_of_member", "environment_members", ["kind", "name"])


def downgrade() -> None:
    """Take this step back.  Environments are shared by name with nobody any more."""
    op.drop_table("environment_members")
