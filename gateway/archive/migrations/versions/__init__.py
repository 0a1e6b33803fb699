"""The history of the archive's schema, for Alembic; each release's revisions are never changed."""
