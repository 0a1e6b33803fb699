"""For those who run the gateway: health, metrics, the provider's status."""
