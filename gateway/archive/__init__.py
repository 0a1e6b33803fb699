"""The archive: the newest record of each message and each change of its state, kept in SQL.

`archive` is its face to the rest of the gateway; `writer` writes behind the answers, `listing` and
`summary` read, `tallies` counts what is written, for summaries of all, `tables` says what is kept.
The only package that speaks SQL.
"""
