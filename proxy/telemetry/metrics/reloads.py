"""Metrics of reloads, rotated secrets and certificates."""

import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from proxy.telemetry.events import Event, Reloaded, ReloadFailed
from proxy.telemetry.metrics.families import Labels, counter, gauge


class ReloadCollector(Collector):
    """Counts reloads. ``certificates`` has the expiry of each in Unix time, by its setting."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._reloads: dict[Labels, float] = {("success",): 0, ("failure",): 0}
        self._rotations: dict[Labels, float] = {("success",): 0, ("failure",): 0}
        self._failures: dict[Labels, float] = {
            ("configuration",): 0,
            ("token",): 0,
            ("internal",): 0,
        }
        self._is_current = True
        self._applied_at = wall()
        self.certificates: Mapping[str, float] = {}

    def add(self, event: Event) -> None:
        """Count an event, if it is a reload."""
        match event:
            case Reloaded(_, rotated):
                self._reloads[("success",)] += 1
                self._rotations[("success",)] += rotated
                self._is_current = True
                self._applied_at = self._wall()
            case ReloadFailed():
                self._reloads[("failure",)] += 1
                self._rotations[("failure",)] += event.is_refused_by_bank and event.has_new_login
                self._failures[(_reason(event),)] += 1
                self._is_current = False

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        yield counter(
            "reloads",
            "Reloads of configuration and secrets, by result.",
            ("result",),
            self._reloads.items(),
        )
        yield counter(
            "reload_failures",
            "Failed reloads, by reason.",
            ("reason",),
            self._failures.items(),
        )
        yield counter(
            "secret_rotations",
            "Reloads that changed a login to the bank, by whether the bank issued a token with it.",
            ("result",),
            self._rotations.items(),
        )
        yield gauge(
            "last_reload_successful",
            "1 when the last reload succeeded, 0 when it failed.",
            (),
            [((), self._is_current)],
        )
        yield gauge(
            "last_reload_success_timestamp_seconds",
            "When the configuration in use was loaded, in Unix time.",
            (),
            [((), self._applied_at)],
        )
        yield gauge(
            "certificate_expiry_timestamp_seconds",
            "When the first certificate in a setting's file expires, in Unix time.",
            ("setting",),
            [((setting,), expiry) for setting, expiry in self.certificates.items()],
        )


def _reason(event: ReloadFailed) -> str:
    if event.error is not None:
        return "internal"
    return "token" if event.is_refused_by_bank else "configuration"
