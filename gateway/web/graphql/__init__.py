"""GraphQL: the same records and errors as REST. The only user of strawberry.

`view` and `websocket` take requests, `documents` reads and bounds what they ask, `engine` executes:
what only reads records is `compiled`, the rest runs on the `schema` that Strawberry makes.
"""
