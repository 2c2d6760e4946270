"""Run by Alembic for every command of ``adapters.host.database.migrate``."""

from alembic import context

from adapters.host.database.migrate import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
