"""What the outside sees: REST, GraphQL, documents, metrics. Parse, ask the service, present."""
