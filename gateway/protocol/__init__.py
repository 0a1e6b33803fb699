"""uvicorn's HTTP protocols with limits added: header and body size, timeouts, connections."""
