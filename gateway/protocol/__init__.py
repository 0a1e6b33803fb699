"""HTTP with bounds on heads, bodies, time and connections, which uvicorn lacks."""
