"""What a figure was measured on, in a sentence."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def processor() -> str:
    """Return the processor's name, as the kernel has it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def machine() -> str:
    """Return processor, cores, kernel and Python."""
    return (
        f"{processor()}, {os.cpu_count()} cores seen, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def today() -> str:
    """Return the day, as figures are dated."""
    return datetime.now(UTC).strftime("%Y-%m-%d")
