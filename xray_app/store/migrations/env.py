"""Run by Alembic: applies the migrations over the connection that `Database.open` hands in."""

from __future__ import annotations

from alembic import context

import xray_app.store.bag_tables
import xray_app.store.exchange_tables
import xray_app.store.fact_tables
import xray_app.store.operating_tables
import xray_app.store.storage_id
import xray_app.store.user_tables
import xray_app.store.validation_tables
import xray_app.store.webhook_tables  # noqa: F401  (they belong to the metadata too)
from xray_app.store.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite's is too, whatever Alembic assumes
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
