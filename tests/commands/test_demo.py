"""``demo --once``, as a newcomer sees it; what it does otherwise is in tests/test_demo.py."""

from tests.program import program


async def test_demo_once_shows_the_main_job() -> None:
    """Requests, what the bank saw of them, a token renewed by itself, and exit code 0."""
    async with program("demo", "--once") as it:
        code = await it.end()
    text = "\n".join(it.out)
    assert (code, it.err) == (0, [])
    for told in (
        "The caller sent",
        "GET /v1/accounts?loginId=juniper.quill",
        "POST /v1/transfers",
        "The bank saw",
        "Authorization: Bearer ",
        "transactionId: ",
        "institutionId: 00016",
        "What came back",
        "the proxy has fetched its successor: token request no. 2",
        "candescent_proxy_token_refreshes_total",
    ):
        assert told in text
    bearers = {line.strip() for line in it.out if "Authorization: Bearer" in line}
    assert len(bearers) == 2  # before the refresh and after it
    assert "sandbox-secret" not in text
