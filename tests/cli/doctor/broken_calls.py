"""Broken set-ups: what the bank makes of a call."""

from proxy.sandbox import Fault
from tests.cli.doctor.healthy_setup import DoctorSetup
from tests.cli.doctor.setups import Steps, add_fault, setup


@setup
async def token_that_is_refused_at_once(setup: DoctorSetup) -> Steps:
    """Token endpoint and resources are of two environments."""
    add_fault(setup, Fault("resource", code="CMN_90018"))
    _ = yield "call-token-refused"
    setup.bank.bank.faults.clear()


@setup
async def resource_that_is_not_ours(setup: DoctorSetup) -> Steps:
    """The application has no such product."""
    add_fault(setup, Fault("resource", code="CMN_90006", status=403))
    _ = yield "call-forbidden"
    setup.bank.bank.faults.clear()


@setup
async def quota_of_calls_that_is_used_up(setup: DoctorSetup) -> Steps:
    """Tokens are given, calls are not answered."""
    add_fault(setup, Fault("resource", code="CMN_90002"))
    _ = yield "call-throttled"
    setup.bank.bank.faults.clear()


@setup
async def resource_that_is_not_there(setup: DoctorSetup) -> Steps:
    """Another one has to be tried."""
    setup.sample = "/v1/no-such-thing"
    _ = yield "call-path"
    setup.sample = "/v1/transactions?accountId=A1"


@setup
async def resources_that_are_down(setup: DoctorSetup) -> Steps:
    """Tokens are given, and nothing else."""
    add_fault(setup, Fault("resource", status=502))
    _ = yield "call-server"
    setup.bank.bank.faults.clear()


@setup
async def page_in_place_of_accounts(setup: DoctorSetup) -> Steps:
    """A filter lets token calls pass, and nothing else."""
    add_fault(setup, Fault("resource", shape="html", status=403))
    _ = yield "call-page"
    setup.bank.bank.faults.clear()


@setup
async def resources_that_say_nothing(setup: DoctorSetup) -> Steps:
    """The connection is cut."""
    add_fault(setup, Fault("resource", reset=True, method="GET"))
    _ = yield "call-no-response"
    setup.bank.bank.faults.clear()
