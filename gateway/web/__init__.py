"""What the outside sees: REST, GraphQL, health and documents. Parse, ask the service, present."""
