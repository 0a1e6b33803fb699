"""What people open in a browser, and the index of all addresses."""
