"""A broker that refuses us for good ends the bridge, loudly, whichever of its connections meets it."""

import asyncio
from pathlib import Path

import pytest
from yarl import URL

from bridge.broker.private import PrivateBroker
from bridge.errors import BrokerRefused
from tests.system.house import Pair, house


async def test_a_bridge_that_may_not_publish_any_more_ends_and_says_so(
    private_broker: PrivateBroker, tmp_path: Path
) -> None:
    """The relay alone would try for ever: events and sign requests would wait until somebody restarts it."""
    url = private_broker.url()
    async with house(url, tmp_path, Pair("today")) as home:
        await home.opened()
        assert home.service is not None
        assert home.running is not None
        rabbit = home.service._rabbit
        rabbit.replace_urls(str(URL(url).with_password("not ours")))
        publishing, _ = rabbit.connections
        publishing.discard("cut by the test", publishing.generation)
        with pytest.raises(BaseExceptionGroup) as failure:
            async with asyncio.timeout(30):
                await home.running
        assert failure.value.subgroup(BrokerRefused) is not None
        await home.start_bridge()
