"""Groups for whose members manifests may be run, of whoever asked for a build."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("builds", sa.Column("evaluated_for", sa.JSON, nullable=False, server_default="[]"))
    with op.batch_alter_table("builds") as table:
        table.alter_column("evaluated_for", server_default=None)


def downgrade() -> None:
    """Take this step back.  For whom manifests may be run is forgotten, so that those of builds that wait are not run."""
    with op.batch_alter_table("builds") as table:
        table.drop_column("evaluated_for")
