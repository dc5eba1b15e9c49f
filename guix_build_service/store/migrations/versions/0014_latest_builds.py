"""Indexes by which the latest build of an environment, and the environments of a repository, are found at once."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_index("builds_of_environment", "build_environments", ["environment", "joined"])
    op.drop_index("ix_build_environments_environment", "build_environments")
    op.create_index("environments_of_repository", "environments", ["repository"])


def downgrade() -> None:
    """Take this step back; nothing goes."""
    op.drop_index("environments_of_repository", "environments")
    op.create_index("ix_build_environments_environment", "build_environments", ["environment"])
    op.drop_index("builds_of_environment", "build_environments")
