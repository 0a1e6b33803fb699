"""Who asks: keys, tokens, scopes and quotas. No HTTP in it."""
