"""The program's name as its user types it: the next commands that we offer can be pasted."""

import shlex
import shutil
import sys
from pathlib import Path


def typed_name() -> str:
    """Return what starts this program in the caller's shell: its name if it is on the PATH."""
    started = Path(sys.argv[0])
    if not started.stem.startswith("candescent-proxy"):
        return f"{shlex.quote(sys.executable)} -m proxy.cli"
    found = shutil.which(started.name)
    is_on_path = found is not None and Path(found).resolve() == started.resolve()
    return started.name if is_on_path else shlex.quote(str(started))
