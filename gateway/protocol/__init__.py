"""HTTP with bounds on heads, bodies, time and connections, which uvicorn lacks.

`bounds` are the numbers, `connection` is what both parsers share, `room` counts the connections.
"""
