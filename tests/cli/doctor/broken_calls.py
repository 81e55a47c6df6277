"""Broken set-ups: responses of the bank to the sample call."""

from proxy.sandbox import Fault
from tests.cli.doctor.healthy_setup import DoctorSetup
from tests.cli.doctor.setups import Steps, add_fault, setup


@setup
async def token_refused_at_once(setup: DoctorSetup) -> Steps:
    """Token endpoint and resources are of two environments."""
    add_fault(setup, Fault("resource", code="CMN_90018"))
    _ = yield "call-token-refused"
    setup.bank.bank.faults.clear()


@setup
async def forbidden_resource(setup: DoctorSetup) -> Steps:
    """The application has no such product."""
    add_fault(setup, Fault("resource", code="CMN_90006", status=403))
    _ = yield "call-forbidden"
    setup.bank.bank.faults.clear()


@setup
async def exceeded_quota_of_calls(setup: DoctorSetup) -> Steps:
    """Token requests succeed."""
    add_fault(setup, Fault("resource", code="CMN_90002"))
    _ = yield "call-throttled"
    setup.bank.bank.faults.clear()


@setup
async def missing_resource(setup: DoctorSetup) -> Steps:
    """Another one has to be tried."""
    setup.sample = "/v1/no-such-thing"
    _ = yield "call-path"
    setup.sample = "/v1/transactions?accountId=A1"


@setup
async def failing_resources(setup: DoctorSetup) -> Steps:
    """Token requests succeed."""
    add_fault(setup, Fault("resource", status=502))
    _ = yield "call-server"
    setup.bank.bank.faults.clear()


@setup
async def page_instead_of_accounts(setup: DoctorSetup) -> Steps:
    """A filter lets only token requests pass."""
    add_fault(setup, Fault("resource", shape="html", status=403))
    _ = yield "call-page"
    setup.bank.bank.faults.clear()


@setup
async def resetting_resources(setup: DoctorSetup) -> Steps:
    """The connection is reset."""
    add_fault(setup, Fault("resource", reset=True, method="GET"))
    _ = yield "call-no-response"
    setup.bank.bank.faults.clear()
