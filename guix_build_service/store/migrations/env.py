"""Run the migrations on the connection that the service opened (see Alembic's tutorial, "Sharing a Connection")."""

from alembic import context

from guix_build_service.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
