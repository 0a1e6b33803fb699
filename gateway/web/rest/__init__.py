"""REST: the table of operations, records, streams, pushes, the OpenAPI document."""
