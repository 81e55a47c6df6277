"""Broken set-ups: responses of the bank to the sample call."""

from proxy.sandbox import Fault
from tests.cli.doctor.healthy_setup import DoctorSetup
from tests.cli.doctor.setups import Steps, fault_setup, setup

# Token endpoint and resources are of two environments.
fault_setup("token_refused_at_once", Fault("resource", code="CMN_90018"), "call-token-refused")

# The first request is that of the network check, the third has the first of two tokens.
REPLACED = Fault("resource", code="CMN_90018", skip=2)
fault_setup("tokens_that_replace_each_other", REPLACED, "token-replaced")

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
