"""Transaction ids: valid, canonical, and never the same twice."""

import re
import uuid

from proxy.forwarding import transaction_ids
from proxy.forwarding.transaction_ids import SHARED, new_transaction_id

MANY = [new_transaction_id() for _ in range(SHARED + 5_000)]


def test_every_id_is_a_version_4_uuid() -> None:
    """The standard library reads each as what it is."""
    for text in MANY:
        read = uuid.UUID(text)
        assert (read.version, read.variant) == (4, uuid.RFC_4122)


def test_every_id_is_in_canonical_form() -> None:
    """Lower case with four hyphens, which is how the bank writes them."""
    assert all(str(uuid.UUID(text)) == text for text in MANY)
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) for text in MANY)


def test_no_id_comes_twice() -> None:
    """Each request can be told from each other."""
    assert len(set(MANY)) == len(MANY)


def test_another_process_has_other_ids() -> None:
    """Each source begins somewhere at random: of a thousand no two share their beginning."""
    assert len({next(transaction_ids._ids())[:23] for _ in range(1000)}) == 1000


def test_every_variant_comes_up() -> None:
    """The random part uses all that a version 4 UUID leaves free."""
    heads = [next(transaction_ids._ids()) for _ in range(500)]
    assert {text[19] for text in heads} == set("89ab")
    for place in set(range(22)) - {8, 13, 14, 18, 19}:
        assert {text[place] for text in heads} == set("0123456789abcdef")
