"""The provider's protocol: bytes in, values out. No I/O, no event loop, no clock, no logging.

`query` makes the form that is sent. `reply.decode` reads an answer in any of the four formats
(`fmt_text`, `fmt_csv`, `fmt_xml`, `fmt_json`) into rows, or into a refusal; `normalise` turns a row
into a record by the tables of `codes`.
"""
