"""OpenTelemetry metrics, configured by its own variables: who wants them; `otlp` sends them."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gateway.observability.tracing import DISABLED

if TYPE_CHECKING:
    from gateway.web.ops.otlp import MetricExport

log = logging.getLogger(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
"""Where a collector listens (OTLP over HTTP); set, they switch metrics on."""

EXPORTER: Final = "OTEL_METRICS_EXPORTER"
INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"

USUAL: Final = 60_000
"""Milliseconds between two exports, where `INTERVAL` names none: the specification's."""


def create_export(environ: Mapping[str, str]) -> "MetricExport | None":
    """Metrics as the environment wants them sent; None: it wants none.

    These variables are often set for a whole cluster, so that a missing extra stops nobody.
    """
    exporter = environ.get(EXPORTER, "").strip().lower() or "otlp"
    wanted = any(environ.get(name) for name in ENDPOINTS) and exporter != "none"
    if not wanted or environ.get(DISABLED, "").strip().lower() == "true":
        return None
    if exporter != "otlp":
        log.warning("no metrics are sent: %s must be otlp or none", EXPORTER)
        return None
    try:
        from gateway.web.ops.otlp import MetricExport  # noqa: PLC0415 - needs an extra
    except ImportError:
        log.warning("no metrics are sent: they need the extra otel (smsc-gateway[otel])")
        return None
    return MetricExport(environ, every=_seconds(environ))


def _seconds(environ: Mapping[str, str]) -> float:
    text = environ.get(INTERVAL, "").strip()
    if text and not (text.isascii() and text.isdigit() and int(text)):
        log.warning("%s must be a number of milliseconds: it is taken as %d", INTERVAL, USUAL)
        text = ""
    return int(text or USUAL) / 1000
