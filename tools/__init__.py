"""What is run to check and to release, and is no part of the gateway."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent


class Refused(Exception):
    """Why no release can be made, in one sentence."""
