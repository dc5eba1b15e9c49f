"""Secrets that forges prove to know when they tell of pushes."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "webhooks",
        sa.Column("environment", sa.String(12), sa.ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("nonce", sa.LargeBinary, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("used", sa.DateTime),
    )


def downgrade() -> None:
    """Take this step back.  Forges that tell of pushes are no longer believed, until new secrets are made."""
    op.drop_table("webhooks")
