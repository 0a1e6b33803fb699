"""Tells services' addresses of changes, by Standard Webhooks (https://www.standardwebhooks.com)."""
