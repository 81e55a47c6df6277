"""Commands of the documentation, typed into a shell."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.program import environment


def type_lines(
    lines: str, folder: Path, variables: Mapping[str, str] | None = None, tools: Path | None = None
) -> str:
    """Run lines in bash and return what they print; fails with the output if one of them fails.

    The commands of ``tools`` go before those of the virtual environment, which go before those
    of the machine.
    """
    before = [str(tools)] if tools else []
    path = os.pathsep.join([*before, str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["/bin/bash", "-euc", lines],
        cwd=folder,
        env=environment(PATH=path, **(variables or {})),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{lines}\n{done.stdout}{done.stderr}"
    return done.stdout
