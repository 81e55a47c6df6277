"""Broken set-ups: responses of the bank to token requests."""

from proxy.sandbox import Fault
from tests.cli.doctor.healthy_setup import DoctorSetup
from tests.cli.doctor.setups import Steps, add_fault, fault_setup, setup


@setup
async def wrong_secret(setup: DoctorSetup) -> Steps:
    """The secret is of another environment."""
    setup.write_secret("secret-of-production")
    finding = yield "token-bad-client"
    assert "secret-of-production" not in finding.text + finding.fix
    assert "CMN_90004" in finding.text
    setup.write_secret()


@setup
async def wrong_institution(setup: DoctorSetup) -> Steps:
    """A spreadsheet has removed the zeros."""
    setup.set(institution_id="16")
    finding = yield "token-bad-institution"
    assert "leading zeros" in finding.fix
    setup.set(institution_id="00016")


@setup
async def wrong_secret_of_another_institution(setup: DoctorSetup) -> Steps:
    """One of two logins is wrong; the result names it."""
    wrong = setup.private("other-secret", "not-this-one")
    login = {"client_id": "sandbox-client", "client_secret_file": wrong}
    setup.set(institutions={"00017": login})
    finding = yield "token-bad-client"
    assert "v2:00017" in finding.text
    setup.private("other-secret", "sandbox-secret")


@setup
async def wrong_password(setup: DoctorSetup) -> Steps:
    """The user's, not the application's."""
    password = setup.private("password", "starlight")
    setup.set(username="juniper", password_file=password)
    _ = yield "token-bad-user"
    setup.private("password", "moonlight")


@setup
async def unknown_scopes(setup: DoctorSetup) -> Steps:
    """The bank does not know one of them."""
    setup.set(scopes="accounts:burn")
    _ = yield "token-bad-request"
    setup.set(scopes="accounts:read")


# As a 500 of the bank.
fault_setup("exceeded_quota", Fault("token", code="CMN_90002"), "token-throttled")

# As a 429 of the gateway.
fault_setup("exceeded_spike_limit", Fault("token", code="CMN_90003", status=429), "token-throttled")

# 503 for every request.
fault_setup("failing_bank", Fault("any", status=503), "token-server")


@setup
async def slow_bank(setup: DoctorSetup) -> Steps:
    """Slower than token.timeout."""
    add_fault(setup, Fault("token", delay=1.5))
    setup.use_short_timeouts()
    finding = yield "token-timeout"
    assert "within 1 s" in finding.text
    setup.set(token={"timeout": "30"})


# On token requests only.
fault_setup("resetting_bank", Fault("token", reset=True), "token-unreachable")

# A 200 without fields.
fault_setup("response_without_a_token", Fault("token", shape="notoken"), "token-malformed")


@setup
async def wrong_base_path(setup: DoctorSetup) -> Steps:
    """It is missing, or has one segment too many."""
    add_fault(setup, Fault("any", path_prefix="/stage", wire=NOT_FOUND))
    setup.set(base_url=setup.bank.url + "/stage")
    finding = yield "token-path"
    assert "404" in finding.text
    setup.set(base_url=setup.bank.url)


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
TO_LOG_IN = (
    b"HTTP/1.1 302 Found\r\nLocation: http://log.in/\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)

# A guest network responds with its login page.
fault_setup("login_page", Fault("token", shape="html"), "token-page")

# A guest network redirects.
fault_setup("redirect_to_a_login_page", Fault("token", wire=TO_LOG_IN), "token-redirect")


@setup
async def credentials_for_v2_only(setup: DoctorSetup) -> Steps:
    """V1 is configured but not enabled for the application."""
    add_fault(setup, Fault("v1token", status=401))
    setup.set(token={"prefetch": ["v2", "v1"]})
    finding = yield "v1-refused"
    assert "v1:00016" in finding.text
    setup.set(token={"prefetch": ["v2"]})
