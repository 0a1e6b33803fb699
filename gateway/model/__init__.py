"""What a record is, how it moves forward, and how long it is fresh: values, no I/O."""
