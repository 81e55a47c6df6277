"""Transaction ids: valid, canonical and unique."""

import re
import uuid
from collections import deque

from proxy.forwarding import transaction_ids
from proxy.forwarding.transaction_ids import (
    REMEMBERED,
    SHARED,
    is_of_another,
    new_transaction_id,
    remember,
)

MANY = [new_transaction_id() for _ in range(SHARED + 5_000)]


def test_every_id_is_a_version_4_uuid() -> None:
    """The standard library parses each as version 4."""
    for text in MANY:
        read = uuid.UUID(text)
        assert (read.version, read.variant) == (4, uuid.RFC_4122)


def test_every_id_is_in_canonical_form() -> None:
    """Lower case with four hyphens."""
    assert all(str(uuid.UUID(text)) == text for text in MANY)
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) for text in MANY)


def test_ids_are_unique() -> None:
    """No id occurs twice."""
    assert len(set(MANY)) == len(MANY)


def test_processes_have_different_ids() -> None:
    """Each source starts at random; of a thousand no two share their prefix."""
    assert len({next(transaction_ids._ids(deque()))[:23] for _ in range(1000)}) == 1000


def test_every_variant_occurs() -> None:
    """The random part uses all free bits of a version 4 UUID."""
    heads = [next(transaction_ids._ids(deque())) for _ in range(500)]
    assert {text[19] for text in heads} == set("89ab")
    for place in set(range(22)) - {8, 13, 14, 18, 19}:
        assert {text[place] for text in heads} == set("0123456789abcdef")


def test_ids_of_other_requests_are_known() -> None:
    """Those made here and those that callers brought, in any case; not a request's own."""
    own, other = (new_transaction_id().encode() for _ in range(2))
    brought = str(uuid.uuid4()).encode()
    assert is_of_another(other.upper(), own)
    assert not is_of_another(own.upper(), own)
    assert not is_of_another(brought, own)
    remember(brought.upper())
    assert is_of_another(brought, own)
    assert is_of_another(own + b", " + brought, own)


def test_own_id_in_another_form_is_not_of_another() -> None:
    """With white space around it, twice in a line, or with a gateway's addition."""
    own = new_transaction_id().encode()
    for form in (own + b"\t", own + b", " + own, own + b"-1", own + b"," + own.upper() + b".span"):
        assert not is_of_another(form, own)


def test_remembered_ids_are_bounded() -> None:
    """The oldest are forgotten; an id that comes again is young."""
    first, second, own = (str(uuid.uuid4()).encode() for _ in range(3))
    for each in (first, second, first):
        remember(each)
    for _ in range(REMEMBERED - 1):
        remember(str(uuid.uuid4()).encode())
    assert is_of_another(first, own)
    assert not is_of_another(second, own)
