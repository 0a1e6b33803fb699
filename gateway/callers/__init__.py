"""API callers: authentication by key or JWT, scopes and quotas; independent of the web layer."""
