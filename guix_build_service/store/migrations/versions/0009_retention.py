"""Which versions' profiles are pinned, and which are no longer kept."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("versions", sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("versions", sa.Column("let_go", sa.DateTime))
    op.add_column("versions", sa.Column("let_go_why", sa.String(300), nullable=False, server_default=""))
    with op.batch_alter_table("versions") as table:
        table.alter_column("pinned", server_default=None)
        table.alter_column("let_go_why", server_default=None)


def downgrade() -> None:
    """Take this step back.  Pins are forgotten, and that profiles were let go: those must be built again to start."""
    with op.batch_alter_table("versions") as table:
        table.drop_column("pinned")
        table.drop_column("let_go")
        table.drop_column("let_go_why")
