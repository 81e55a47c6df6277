"""Broken set-ups: what the bank makes of a token request."""

from proxy.sandbox import Fault
from tests.cli.doctor.healthy_setup import World
from tests.cli.doctor.setups import Steps, setup, spoil


@setup
async def wrong_key(world: World) -> Steps:
    """The secret of another environment."""
    world.hold("secret-of-production")
    finding = yield "token-bad-client"
    assert "secret-of-production" not in finding.text + finding.cure
    assert "CMN_90004" in finding.text
    world.hold()


@setup
async def wrong_institution(world: World) -> Steps:
    """A spreadsheet has taken the zeros away."""
    world.set(institution_id="16")
    finding = yield "token-bad-institution"
    assert "leading zeros" in finding.cure
    world.set(institution_id="00016")


@setup
async def wrong_key_of_another_institution(world: World) -> Steps:
    """One of two logins is wrong, and the finding says which."""
    wrong = world.private("other-secret", "not-this-one")
    login = {"client_id": "sandbox-client", "client_secret_file": wrong}
    world.set(institutions={"00017": login})
    finding = yield "token-bad-client"
    assert "v2:00017" in finding.text
    world.private("other-secret", "sandbox-secret")


@setup
async def wrong_password(world: World) -> Steps:
    """The user's, not the application's."""
    password = world.private("password", "starlight")
    world.set(username="juniper", password_file=password)
    _ = yield "token-bad-user"
    world.private("password", "moonlight")


@setup
async def scopes_that_are_not_ours(world: World) -> Steps:
    """One that the bank does not know."""
    world.set(scopes="accounts:burn")
    _ = yield "token-bad-request"
    world.set(scopes="accounts:read")


@setup
async def quota_that_is_used_up(world: World) -> Steps:
    """As the bank says it: a 500."""
    spoil(world, Fault("token", code="CMN_90002"))
    _ = yield "token-throttled"
    world.bank.bank.faults.clear()


@setup
async def spike_that_is_arrested(world: World) -> Steps:
    """As the gateway says it: a 429."""
    spoil(world, Fault("token", code="CMN_90003", status=429))
    _ = yield "token-throttled"
    world.bank.bank.faults.clear()


@setup
async def bank_that_is_down(world: World) -> Steps:
    """503, whatever is asked for."""
    spoil(world, Fault("any", status=503))
    _ = yield "token-server"
    world.bank.bank.faults.clear()


@setup
async def bank_that_is_slow(world: World) -> Steps:
    """Slower than token.timeout."""
    spoil(world, Fault("token", delay=1.5))
    world.hasty()
    finding = yield "token-timeout"
    assert "within 1 s" in finding.text
    world.set(token={"timeout": "30"})


@setup
async def bank_that_hangs_up(world: World) -> Steps:
    """On token requests only."""
    spoil(world, Fault("token", reset=True))
    _ = yield "token-unreachable"
    world.bank.bank.faults.clear()


@setup
async def answer_without_a_token(world: World) -> Steps:
    """200, and nothing in it."""
    spoil(world, Fault("token", shape="notoken"))
    _ = yield "token-strange"
    world.bank.bank.faults.clear()


@setup
async def wrong_base_path(world: World) -> Steps:
    """The path was left out, or has one part too many."""
    spoil(world, Fault("any", path_prefix="/stage", wire=NOT_FOUND))
    world.set(base_url=world.bank.url + "/stage")
    finding = yield "token-path"
    assert "404" in finding.text
    world.set(base_url=world.bank.url)


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
TO_LOG_IN = (
    b"HTTP/1.1 302 Found\r\nLocation: http://log.in/\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


@setup
async def page_of_a_hotel(world: World) -> Steps:
    """A network that wants its guests to log in first."""
    spoil(world, Fault("token", shape="html"))
    _ = yield "token-page"
    world.bank.bank.faults.clear()


@setup
async def hotel_that_sends_to_its_page(world: World) -> Steps:
    """The same, by a redirect."""
    spoil(world, Fault("token", wire=TO_LOG_IN))
    _ = yield "token-redirect"
    world.bank.bank.faults.clear()


@setup
async def keys_for_v2_alone(world: World) -> Steps:
    """V1 is configured, and the application was never enabled for it."""
    spoil(world, Fault("v1token", status=401))
    world.set(token={"prefetch": ["v2", "v1"]})
    finding = yield "v1-refused"
    assert "v1:00016" in finding.text
    world.set(token={"prefetch": ["v2"]})
