"""From what is wanted to what is asked of the provider, within its limits."""
