"""What callers reach: REST, GraphQL, operator endpoints, pages. Parse, call the service, present.

A request first meets `http/front`: request id, authentication, metrics, access log. Then `rest`,
`graphql`, `ops` or `pages` answers it. `projection` writes records for all of them, and
`http/problems` what went wrong.
"""
