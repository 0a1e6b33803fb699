"""The provider's limits as a budget: what was spent, and what may be spent now."""
