"""Names what a changed configuration permits that the one before refused."""

from collections.abc import Iterable, Iterator

from proxy.config.listener_settings import ListenerConfig
from proxy.config.model import Config
from proxy.config.origin_config import OriginConfig
from proxy.forwarding.forwarding_settings import AccessSettings, RequestPattern


def loosened(before: Config, after: Config) -> Iterator[str]:
    """Yield a sentence for each setting that permits more in ``after``: its name, then what.

    The settings that need a restart are left out.
    """
    if not before.trust_network and after.trust_network:
        yield "trust_network: is now true"
    origins = {origin.path: origin for origin in before.origins}
    for origin in after.origins:
        # An institution with a new address of its own used the default one before.
        yield from _of_origin(origins.get(origin.path, before.origins[0]), origin)
    chars = set(after.relaxed_query_chars) - set(before.relaxed_query_chars)
    yield from _more("relaxed_query_chars", chars)
    yield from _more("replay.paths", {*after.replay.paths} - {*before.replay.paths})
    listeners = {listener.name: listener for listener in before.listener_configs}
    for listener in after.listener_configs:
        if listener.name in listeners:
            yield from _of_listener(listeners[listener.name], listener)


def _of_origin(before: OriginConfig, after: OriginConfig) -> Iterator[str]:
    path = after.path
    if before.is_https and not after.is_https:
        yield f"{path}base_url: no longer encrypted"
    old, new = before.upstream, after.upstream
    if (old.ca_file, old.system_store) != (new.ca_file, new.system_store):
        settings = f"{path}upstream.ca_file, {path}upstream.system_store"
        yield f"{settings}: other authorities are trusted"


def _of_listener(before: ListenerConfig, after: ListenerConfig) -> Iterator[str]:
    path = after.path
    institutions = after.permitted_institutions - before.permitted_institutions
    yield from _more(f"{path}allowed_institutions", institutions)
    origins = {*after.cors.allow_origins} - {*before.cors.allow_origins}
    yield from _more(f"{path}cors.allow_origins", origins)
    yield from _access(f"{path}access", before.access, after.access)
    old, new = before.callers, after.callers
    for name in ("secret_files", "client_names"):
        setting = f"{path}callers.{name}"
        yield from _permitted(setting, [*getattr(old, name)], [*getattr(new, name)])
    if old.client_ca_file not in (None, new.client_ca_file):
        what = "other authorities are trusted" if new.client_ca_file else "no longer set"
        yield f"{path}callers.client_ca_file: {what}"


def _access(path: str, before: AccessSettings, after: AccessSettings) -> Iterator[str]:
    if (before.mode, after.mode) == ("enforce", "warn"):
        yield f"{path}.mode: refuses nothing any more"
    yield from _permitted(f"{path}.allow", [*before.allow], [*after.allow])
    for gone in sorted({*map(_text, before.deny)} - {*map(_text, after.deny)}):
        yield f"{path}.deny: no longer refuses {gone}"


def _permitted(setting: str, before: list[object], after: list[object]) -> Iterator[str]:
    """Compare two lists, of which an empty one permits everything."""
    if before and not after:
        yield f"{setting}: no longer set, so everything is permitted"
    elif before:
        yield from _more(setting, {*after} - {*before})


def _more(setting: str, added: Iterable[object]) -> Iterator[str]:
    texts = sorted(map(_text, added))
    if texts:
        yield f"{setting}: now permits {', '.join(texts)}"


def _text(value: object) -> str:
    if isinstance(value, RequestPattern):
        return " ".join(filter(None, (",".join(value.methods), value.path)))
    return str(value)
