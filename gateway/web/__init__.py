"""What the outside sees: REST, GraphQL, documents, metrics. Parse, ask the service, present.

A request meets `middleware` (its id, line and count), `auth` (who asks), then what answers: `rest`
and `live`, `graphql`, `push`, `operation`, `docs`, `pages`. `projection` writes records for all of
them, `problems` what went wrong.
"""
