"""Broken set-ups: what the bank makes of a call."""

from proxy.sandbox import Fault
from tests.cli.doctor.healthy_setup import World
from tests.cli.doctor.setups import Steps, setup, spoil


@setup
async def token_that_is_refused_at_once(world: World) -> Steps:
    """Token endpoint and resources are of two environments."""
    spoil(world, Fault("resource", code="CMN_90018"))
    _ = yield "call-token-refused"
    world.bank.bank.faults.clear()


@setup
async def resource_that_is_not_ours(world: World) -> Steps:
    """The application has no such product."""
    spoil(world, Fault("resource", code="CMN_90006", status=403))
    _ = yield "call-forbidden"
    world.bank.bank.faults.clear()


@setup
async def quota_of_calls_that_is_used_up(world: World) -> Steps:
    """Tokens are given, calls are not answered."""
    spoil(world, Fault("resource", code="CMN_90002"))
    _ = yield "call-throttled"
    world.bank.bank.faults.clear()


@setup
async def resource_that_is_not_there(world: World) -> Steps:
    """Another one has to be tried."""
    world.sample = "/v1/no-such-thing"
    _ = yield "call-path"
    world.sample = "/v1/transactions?accountId=A1"


@setup
async def resources_that_are_down(world: World) -> Steps:
    """Tokens are given, and nothing else."""
    spoil(world, Fault("resource", status=502))
    _ = yield "call-server"
    world.bank.bank.faults.clear()


@setup
async def page_in_place_of_accounts(world: World) -> Steps:
    """A filter lets token calls pass, and nothing else."""
    spoil(world, Fault("resource", shape="html", status=403))
    _ = yield "call-page"
    world.bank.bank.faults.clear()


@setup
async def resources_that_say_nothing(world: World) -> Steps:
    """The connection is cut."""
    spoil(world, Fault("resource", reset=True, method="GET"))
    _ = yield "call-silent"
    world.bank.bank.faults.clear()
