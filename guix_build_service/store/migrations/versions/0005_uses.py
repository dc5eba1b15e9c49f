"""When profiles were used last."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "uses",
        sa.Column("profile", sa.String(300), primary_key=True),
        sa.Column("used", sa.DateTime, nullable=False),
    )


def downgrade() -> None:
    """Take this step back.  When profiles were used last is forgotten."""
    op.drop_table("uses")
