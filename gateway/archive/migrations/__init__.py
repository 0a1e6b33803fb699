"""The history of the archive's schema, for Alembic."""
