"""What lists are made by: names in their order, and groups that can be asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    sharing = op.create_table(
        "environment_groups",
        sa.Column("environment", sa.String(12), sa.ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
    )
    op.create_index("ix_environment_groups_name", "environment_groups", ["name"])
    op.add_column("environments", sa.Column("sorted_as", sa.String(600), nullable=False, server_default=""))
    environments = sa.table(
        "environments", sa.column("id"), sa.column("name"), sa.column("sorted_as"), sa.column("groups", sa.JSON)
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(environments)).mappings().all():
        named = {"sorted_as": row["name"].casefold()}
        connection.execute(sa.update(environments).where(environments.c.id == row["id"]).values(**named))
        shared = [{"environment": row["id"], "place": place, "name": name} for place, name in enumerate(row["groups"])]
        if shared:
            connection.execute(sa.insert(sharing), shared)
    with op.batch_alter_table("environments") as table:
        table.alter_column("sorted_as", server_default=None)
        table.drop_column("groups")
        table.create_index("environments_by_name", ["sorted_as", "id"])


def downgrade() -> None:
    """Take this step back; nothing goes."""
    op.add_column("environments", sa.Column("groups", sa.JSON, nullable=False, server_default="[]"))
    sharing = sa.table("environment_groups", sa.column("environment"), sa.column("place"), sa.column("name"))
    environments = sa.table("environments", sa.column("id"), sa.column("groups", sa.JSON))
    connection, groups = op.get_bind(), dict[str, list[str]]()
    for row in connection.execute(sa.select(sharing).order_by(sharing.c.place)).mappings():
        groups.setdefault(row["environment"], []).append(row["name"])
    for environment, names in groups.items():
        connection.execute(sa.update(environments).where(environments.c.id == environment).values(groups=names))
    op.drop_table("environment_groups")
    with op.batch_alter_table("environments") as table:
        table.drop_index("environments_by_name")
        table.drop_column("sorted_as")
        table.alter_column("groups", server_default=None)
