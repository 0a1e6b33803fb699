"""The newest that is known of each key."""
