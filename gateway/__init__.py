"""The status gateway for SMSC.

`records` is the normalised schema, `errors` what can go wrong, `callers` who asks, `merge` how an
answer joins what is known, `detail` and `freshness` how much is asked and how long it holds.
`smsc` reads the provider's protocol without I/O. `store`, `budget` and `interest` remember, by
`replicas` together with other processes. `planner` decides what to ask, `breaker` when not to,
`backlog` when whoever is turned away may come back, `upstream` asks, `dispatch` brings them
together, with a `flight` for each question. `link` tells how it goes, `service` is the one door,
`watch` follows changes through it, `web` are the surfaces, `app` builds it all, `server` and `cli`
run it, `protocol` holds its connections within bounds, `check` looks before that. `telemetry`,
`accesslog` and `tracing` tell of it, `memo` bounds what is remembered of texts, `loopback` knows
this machine's own names. `simulator` is a
provider of its own and knows nothing of the rest.
"""

__version__ = "0.1.0"
