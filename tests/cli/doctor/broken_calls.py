"""Broken set-ups: responses of the bank to the sample call."""

from dataclasses import replace

from proxy.sandbox import Fault
from tests.cli.doctor.healthy_setup import DoctorSetup
from tests.cli.doctor.setups import Steps, fault_setup, setup

# Token endpoint and resources are of two environments.
fault_setup("token_refused_at_once", Fault("resource", code="CMN_90018"), "call-token-refused")


@setup
async def tokens_that_replace_each_other(setup: DoctorSetup) -> Steps:
    """Each new token revokes the one before, so the bank needs one proxy or a store."""
    usual = setup.bank.bank.settings
    setup.bank.bank.settings = replace(usual, issuing="only")
    finding = yield "token-replaced"
    assert "store.url" in finding.fix
    setup.bank.bank.settings = replace(usual, issuing="same")


# The application has no such product.
fault_setup("forbidden_resource", Fault("resource", code="CMN_90006", status=403), "call-forbidden")

# Token requests succeed.
fault_setup("exceeded_quota_of_calls", Fault("resource", code="CMN_90002"), "call-throttled")


@setup
async def missing_resource(setup: DoctorSetup) -> Steps:
    """Another one has to be tried."""
    setup.sample = "/v1/no-such-thing"
    _ = yield "call-path"
    setup.sample = "/v1/transactions?accountId=A1"


# Token requests succeed.
fault_setup("failing_resources", Fault("resource", status=502), "call-server")

# A filter lets only token requests pass.
fault_setup("page_instead_of_accounts", Fault("resource", shape="html", status=403), "call-page")

# The connection is reset.
fault_setup("resetting_resources", Fault("resource", reset=True, method="GET"), "call-no-response")
