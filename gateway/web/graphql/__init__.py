"""GraphQL: the same records and errors as REST. The only user of strawberry."""
