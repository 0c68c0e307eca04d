"""The real RabbitMQ that tests run against: `AMQP_URL`, else a private one for the whole session."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from bridge.broker.package import BrokerNotFound, Program, locate
from bridge.broker.permission import definitions
from bridge.broker.private import PrivateBroker
from tests.broker.people import PASSWORDS, PREFIX, USERS


@pytest.fixture(scope="session")
def broker_program() -> Program:
    """What to start a RabbitMQ of one's own with. Skips where there is none to be had; fails where that must not be."""
    try:
        return locate()
    except BrokerNotFound as error:
        if "1" in (os.environ.get("CI"), os.environ.get("CHANNEL_BRIDGE_REQUIRE_BROKER")):
            pytest.fail(f"this run must have a RabbitMQ: {error}", pytrace=False)
        pytest.skip(f"needs a RabbitMQ: {error}")


@pytest.fixture(scope="session")
def private_broker(broker_program: Program) -> Iterator[PrivateBroker]:
    """Our own RabbitMQ, with one user per role and the whole topology. It may be restarted and frozen."""
    broker = PrivateBroker(definitions(PREFIX, None, USERS), passwords=PASSWORDS, program=broker_program)
    asyncio.run(broker.start())
    yield broker
    asyncio.run(broker.stop())


@pytest.fixture(scope="session")
def amqp_url(request: pytest.FixtureRequest) -> str:
    """A RabbitMQ on which the test may do all, under names of its own."""
    given = os.environ.get("AMQP_URL")
    if given:
        return given
    broker: PrivateBroker = request.getfixturevalue("private_broker")
    return broker.url()
