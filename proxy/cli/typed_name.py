"""The program's name in the user's shell, so that suggested commands can be pasted."""

import shlex
import shutil
import sys
from pathlib import Path


def typed_name() -> str:
    """Return the command that starts this program: its name if it is on the PATH."""
    started = Path(sys.argv[0])
    if not started.stem.startswith("candescent-proxy"):
        return f"{shlex.quote(sys.executable)} -m proxy.cli"
    found = shutil.which(started.name)
    is_on_path = found is not None and Path(found).resolve() == started.resolve()
    return started.name if is_on_path else shlex.quote(str(started))
