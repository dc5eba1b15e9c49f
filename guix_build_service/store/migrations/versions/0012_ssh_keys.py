"""Keys for SSH beside tokens and passwords, one of each for a person's host."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    with op.batch_alter_table("credentials") as table:
        table.add_column(sa.Column("kind", sa.String(10), nullable=False, server_default="password"))
        table.add_column(sa.Column("fingerprint", sa.String(100), nullable=False, server_default=""))
        table.drop_constraint("credentials_of_owner", type_="unique")
        table.create_unique_constraint("credentials_of_owner", ["owner", "host", "kind"])
    with op.batch_alter_table("credentials") as table:
        table.alter_column("kind", server_default=None)
        table.alter_column("fingerprint", server_default=None)


def downgrade() -> None:
    """Take this step back.  People's keys go, as an earlier release can neither use nor protect them."""
    op.execute("DELETE FROM credentials WHERE kind <> 'password'")
    with op.batch_alter_table("credentials") as table:
        table.drop_constraint("credentials_of_owner", type_="unique")
        table.create_unique_constraint("credentials_of_owner", ["owner", "host"])
        table.drop_column("fingerprint")
        table.drop_column("kind")
