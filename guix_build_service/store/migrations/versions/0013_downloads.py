"""How many bytes of a build's downloads have come, and what it is at."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("builds", sa.Column("bytes_done", sa.BigInteger))
    op.add_column("builds", sa.Column("bytes_total", sa.BigInteger))
    op.add_column("builds", sa.Column("item", sa.String(200)))


def downgrade() -> None:
    """Take this step back.  Builds tell of what is done by its number alone."""
    with op.batch_alter_table("builds") as table:
        table.drop_column("item")
        table.drop_column("bytes_total")
        table.drop_column("bytes_done")
