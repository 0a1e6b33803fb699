"""The revisions, in their order; those of a release are never changed."""
