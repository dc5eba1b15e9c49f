"""What opens private repositories, sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "credentials",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("host", sa.String(300), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("nonce", sa.LargeBinary, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("used", sa.DateTime),
        sa.Column("refused", sa.DateTime),
        sa.UniqueConstraint("owner", "host", name="credentials_of_owner"),
    )


def downgrade() -> None:
    """Take this step back.  People's credentials go, as an earlier release can neither use nor protect them."""
    op.drop_table("credentials")
