"""The whole visit, in order: what is near first. One thing that is broken does not keep the rest from being seen."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from bridge.app import config as configuration
from bridge.app.access import Access
from bridge.app.doctor import bus, local, node
from bridge.app.doctor.advice import Advice
from bridge.app.settings import Broker
from bridge.errors import BrokerUnavailable, ConfigInvalid

Tell = Callable[[str], None]


async def visit(
    path: Path | None, environ: Mapping[str, str], topology: Broker | None, tell: Tell
) -> AsyncIterator[Advice]:
    """`topology`: the broker as the topology user reaches it, if he lends his rights. `tell` hears where we are."""
    file = "the environment" if path is None else str(path)
    tell("the configuration")
    try:
        config = configuration.load(path, environ)
    except ConfigInvalid as invalid:
        for advice in local.mistakes(invalid, file):
            yield advice
        return
    tell("this machine")
    for advice in local.look(config):
        yield advice
    access = Access(config.broker, config.nodes)
    async for advice in _brokers(config, access, topology, "FILE" if path is None else file, tell):
        yield advice
    for name, one in config.nodes.items():
        tell(f"the node {name}")
        async for advice in node.look(name, one, access.node_context(one)):
            yield advice


async def _brokers(
    config: configuration.Config, access: Access, topology: Broker | None, file: str, tell: Tell
) -> AsyncIterator[Advice]:
    """Every address is tried, the first that answers is looked at."""
    option = "broker.url" if config.broker.url_file is None else "broker.url_file"
    is_seen = False
    for url in access.broker_urls:
        tell("the broker")
        try:
            async with bus.connect([url], access.broker_context) as connection:
                if is_seen:
                    continue
                is_seen = True
                async for advice in bus.look(connection, config, file):
                    yield advice
                if topology is None:
                    async for advice in bus.look_deeper(connection, config, file, is_own=True):
                        yield advice
        except BrokerUnavailable as reason:
            yield bus.unreachable(url, reason, option)
    if topology is not None:
        async for advice in _deeper(config, topology, file, tell):
            yield advice


async def _deeper(config: configuration.Config, topology: Broker, file: str, tell: Tell) -> AsyncIterator[Advice]:
    tell("the broker, as the topology user")
    access = Access(topology)
    try:
        async with bus.connect(access.broker_urls, access.broker_context) as connection:
            async for advice in bus.look_deeper(connection, config, file, is_own=False):
                yield advice
    except BrokerUnavailable as reason:
        yield bus.unreachable(access.broker_urls[0], reason, "TOPOLOGY_AMQP_URL")
