"""HTTP connections within bounds; uvicorn's own have none.

`bounds` are the numbers, `connection` is what both parsers share, `room` counts the connections.
"""
