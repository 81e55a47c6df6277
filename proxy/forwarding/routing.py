"""Routing: the kind of token a request takes, its institution and its upstream target."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from typing import NamedTuple

from proxy.errors import CallerError, kinds
from proxy.forwarding.access_policy import AccessPolicy, PolicyDecision
from proxy.forwarding.paths import (
    climbs,
    has_base,
    is_hidden,
    is_path,
    is_reserved,
    not_in_query,
    segments,
)
from proxy.forwarding.patterns import Pattern
from proxy.tokens.token import TokenKind

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LONGEST_KEPT = 256
"""Bytes of the longest path whose route is cached, so that the cache's memory is bounded."""

INSTITUTION = re.compile(rb"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Rule:
    """The kind of token for a pattern of requests. Rules take precedence over the default."""

    pattern: Pattern
    kind: TokenKind


class Route(NamedTuple):
    """The route of a request.

    ``path`` is the caller's, without the base path; ``has_base_path``: it had one;
    ``institution`` is the one in a V1 path (``/fis/{institution}/``), if any;
    ``has_policy_warning``: a policy in mode ``warn`` would have refused it.
    """

    kind: TokenKind
    target: bytes
    path: bytes
    has_base_path: bool
    institution: bytes | None = None
    has_policy_warning: bool = False


class Router:
    """Routes requests to one upstream; ``base_path`` is ``""`` or like ``/digitalbanking``."""

    def __init__(
        self,
        base_path: str,
        rules: Sequence[Rule] = (),
        policy: AccessPolicy | None = None,
        relaxed_query_chars: str = "",
    ) -> None:
        self._base = base_path.encode("ascii")
        self._rules = tuple(rules)
        self._policy = policy or AccessPolicy()
        self._not_in_query = not_in_query(relaxed_query_chars)
        # Cached, because applications request the same paths again and again.
        self._decide = lru_cache(maxsize=1024)(self._decide_uncached)

    def route(self, method: str, target: bytes) -> Route:
        """Return the route of a request. Raises ``CallerError`` if it is refused.

        ``target`` is the request-target as received. It is appended to the base path unchanged,
        or sent unchanged if it begins with the base path.
        """
        path, mark, query = target.partition(b"?")
        decide = self._decide if len(path) <= LONGEST_KEPT else self._decide_uncached
        route = decide(method, path)
        if not mark:
            return route
        if self._not_in_query.search(query):
            raise CallerError(kinds.TARGET_CHARACTER)
        # _replace would cost more than all the rest of routing.
        return Route(
            route.kind,
            route.target + mark + query,
            route.path,
            route.has_base_path,
            route.institution,
            route.has_policy_warning,
        )

    @property
    def cached_routes(self) -> int:
        """Number of cached routes."""
        return self._decide.cache_info().currsize

    def _decide_uncached(self, method: str, path: bytes) -> Route:
        """Return the route of a path without its query."""
        if method not in METHODS:
            raise CallerError(kinds.METHOD)
        if not path.startswith(b"/"):
            raise CallerError(kinds.TARGET)
        if not is_path(path):
            raise CallerError(kinds.TARGET_CHARACTER)
        has_base_path = has_base(path, self._base)
        if is_reserved(path if has_base_path else self._base + path):
            raise CallerError(kinds.RESERVED)
        path_below_base = path[len(self._base) :] if has_base_path else path
        has_policy_warning = self._is_warned(method, path_below_base)
        if climbs(path_below_base):
            raise CallerError(kinds.TARGET, "The path leads above the proxy's base path.")
        return Route(
            kind=self._kind(method, path_below_base),
            target=path if has_base_path else self._base + path,
            path=path_below_base,
            has_base_path=has_base_path,
            institution=institution_in(path_below_base),
            has_policy_warning=has_policy_warning,
        )

    def _kind(self, method: str, path: bytes) -> TokenKind:
        if self._rules:
            parts = segments(path)
            for rule in self._rules:
                if rule.pattern.matches(method, parts):
                    return rule.kind
        return TokenKind.V1 if b"/fis/" in path else TokenKind.V2

    def _is_warned(self, method: str, path: bytes) -> bool:
        if self._policy.is_empty:
            return False
        decision = self._policy.evaluate(method, path)
        if decision is PolicyDecision.REFUSED:
            raise CallerError(kinds.PATH_POLICY)
        return decision is PolicyDecision.WARNED


def institution_in(path: bytes) -> bytes | None:
    """Return the institution in a V1 path, not validated, or None.

    Raises ``CallerError`` for a path in which another server may see another institution, or that
    names two.
    """
    if is_hidden(b"fis", path):
        raise CallerError(
            kinds.INSTITUTION_NOT_ALLOWED,
            "The path names an institution in a form that servers read differently.",
        )
    if b"/fis/" not in path:
        return None
    named = {after for before, after in pairwise(path.split(b"/")) if before == b"fis"}
    if len(named) > 1:
        raise CallerError(kinds.INSTITUTION_NOT_ALLOWED, "The path names two institutions.")
    return named.pop()


def institution_for(
    route: Route, requested: bytes | None, default: str, allowed: frozenset[str]
) -> str:
    """Return the institution that a request is for.

    The one in a V1 path takes precedence, then ``requested`` (the caller's ``institutionId``),
    then the default. Raises ``CallerError``: 403 for one that is not ``allowed``, 400 for one that
    is not a number, or if path and header differ.
    """
    if route.institution is not None and requested is not None and requested != route.institution:
        raise CallerError(
            kinds.INSTITUTION_CONFLICT,
            "The path and the institutionId header name two institutions.",
        )
    named = route.institution if route.institution is not None else requested
    if named is None:
        return default
    if not INSTITUTION.fullmatch(named):
        raise CallerError(kinds.INSTITUTION_MALFORMED)
    institution = named.decode("ascii")
    if institution not in allowed:
        raise CallerError(kinds.INSTITUTION_NOT_ALLOWED)
    return institution


def rule_errors(rules: Sequence[Rule]) -> list[str]:
    """Return errors for rules that can never match, and for two rules that contradict."""
    errors = []
    for (first_at, first), (second_at, second) in combinations(enumerate(rules), 2):
        if not first.pattern.covers(second.pattern):
            continue
        if first.kind is not second.kind and second.pattern.covers(first.pattern):
            errors.append(
                f"routes.{second_at}: {second.pattern} is given two tokens; "
                f"routes.{first_at} says {first.kind}"
            )
        else:
            errors.append(
                f"routes.{second_at}: {second.pattern} is never reached; "
                f"routes.{first_at} matches all of it first"
            )
    return errors
