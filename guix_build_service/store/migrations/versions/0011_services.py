"""Which processes serve, when each was heard of last, and which of them runs a build."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "services",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("process", sa.JSON, nullable=False),
        sa.Column("seen", sa.DateTime, nullable=False),
    )
    op.add_column("builds", sa.Column("service", sa.String(12)))


def downgrade() -> None:
    """Take this step back.  Builds that run are taken for interrupted, and done again."""
    with op.batch_alter_table("builds") as table:
        table.drop_column("service")
    op.drop_table("services")
