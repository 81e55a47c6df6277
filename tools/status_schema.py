"""Generates docs/status.schema.json, the JSON Schema of /api/status, from its model.

::

    python -m tools.status_schema            print it
    python -m tools.status_schema --write    write it
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from proxy.admin.document import Status
from tools.repository import ROOT

SCHEMA = ROOT / "docs" / "status.schema.json"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    made = Status.model_json_schema(mode="serialization", by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    text = json.dumps(schema(), indent=2) + "\n"
    if arguments == ["--write"]:
        SCHEMA.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
