"""The status gateway for SMSC.

Packages and modules, roughly in import order (exactly: `tests/test_layers.py`):

- `errors`, `clock`, `memo`, `loopback`, `histogram`: errors independent of any transport, time as
  an argument, bounded memoization, the names of this machine, counts by size.
- `model`: records, what level of detail shows which field, freshness, and how records are merged.
- `callers`: keys, tokens, scopes, quotas. `settings`: every setting.
- `smsc`: the provider's protocol, without I/O: bytes to rows, rows to records.
- `replicas`, `store`: what processes share by Redis; the records of one process, or of all.
- `archive`: what was seen stays known: SQL, written behind; lists, counts and history.
- `cache`: the newest record of each key, and how what comes in is merged with it.
- `upstream`: from a query to requests within the limits: planner, budget, breaker, dispatcher, the
  HTTP client, and the status of all this.
- `service`: the facade for queries, polls, pushes and deletions. `watch`: subscriptions.
- `wakeups`: wakes waiting tasks in small batches.
- `web`: `http` is what any HTTP service needs; `rest`, `graphql`, `ops` and `pages` are surfaces.
- `app` builds it all; `server` and `protocol` run it within bounds; `cli` has the commands.
- `observability`: logs, the access log, traces. `simulator`: a provider of its own, which knows
  nothing of the rest.

`docs/map.md` shows how data flows through them, `docs/glossary.md` explains the terms.
"""

__version__ = "0.2.0"
