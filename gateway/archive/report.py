"""How the archive is doing, for `/v1/provider`, metrics and logs."""

from gateway.model.described import Model
from gateway.model.records import DescribedEnum


class ArchiveState(DescribedEnum):
    """Is what the gateway learns kept?"""

    ON = "ON", "It is kept"
    OFF = "OFF", "Nothing is kept, by the settings"
    LOST = "LOST", "The database is away; what is learned waits for it"


class ArchiveReport(Model):
    """How the archive is doing."""

    queue: int
    """Records that wait to be written."""
    lag_seconds: float
    """How long the oldest of them has waited."""
    rows: int | None = None
    """Records that are kept, as counted within the last minute; null before the first count."""
    errors: int
    """Transactions that failed since the start."""
    lost: int
    """Records that were dropped since the start: too many waited, or the database refuses them."""
