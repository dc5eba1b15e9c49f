"""When an environment's current version was asked for, so that a build asked for before does not take its place."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step.  Of what is current already nobody knows; the next build that ends becomes current, as before."""
    op.add_column("environments", sa.Column("chosen", sa.DateTime))


def downgrade() -> None:
    """Take this step back; what is current stays so."""
    with op.batch_alter_table("environments") as table:
        table.drop_column("chosen")
