"""Every trouble RabbitMQ can make, for a few seconds each; `make faults` makes them last."""

import pytest

from bridge.broker.private import PrivateBroker
from tests.faults.broker.trouble import BROKER_TROUBLES, Trouble

pytestmark = pytest.mark.fault
SHORT_SECONDS = 1.0


@pytest.mark.parametrize("trouble", BROKER_TROUBLES, ids=lambda trouble: trouble.__name__)
async def test_no_trouble_of_the_broker_loses_doubles_or_detaches(
    private_broker: PrivateBroker, trouble: Trouble
) -> None:
    """The bus under fire: nothing lost, nothing twice, node sockets open, and paying again within 15 s."""
    figures = await trouble(private_broker, SHORT_SECONDS)
    assert figures["succeeded"] == figures["payments"]
