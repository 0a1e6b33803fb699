"""What any HTTP service needs: requests, authentication, caching, problems, streams."""
