"""Describes the machine that a figure was measured on."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def processor() -> str:
    """Return the processor's name, from the kernel."""
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
    """Return today's date, as in the figures' captions."""
    return datetime.now(UTC).strftime("%Y-%m-%d")
