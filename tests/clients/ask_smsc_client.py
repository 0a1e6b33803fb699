"""PyPI's `smsc-client`: send what is given in JSON to the provider at URL, and print what it tells.

It has nothing but `send.php`, in format 0.
"""

import json
import sys

from smsc_client import SMSCAPI

url, message = sys.argv[1], json.loads(sys.argv[2])
client = SMSCAPI("demo", "demo")
client._domain = f"{url}/"  # noqa: SLF001 - it has no option for it
told = client.default.send(**message)
print(json.dumps({"OK": told.OK, "ID": told.ID}))
