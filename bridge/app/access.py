"""What a process gets in with: the broker's addresses with their passwords, and the TLS of broker and nodes.

Read from the files the options name at the start and at each SIGHUP, all or nothing: what is wrong is told and
leaves in force what was. Connections that are up stay up; what was read counts from the next connect on. The
options themselves, the journal key and signing keys are read once (docs/adr/0017). Never shows what it read.
"""

import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bridge.app import credential
from bridge.app.settings import Broker, Http, Node
from bridge.errors import ConfigInvalid, Finding

log = logging.getLogger(__name__)

Renew = Callable[[list[str], ssl.SSLContext], None]


@dataclass(frozen=True, slots=True)
class _InForce:
    broker_urls: tuple[str, ...] = field(repr=False)
    broker: ssl.SSLContext
    nodes: Mapping[Node, ssl.SSLContext]


class Access:
    """Blocks while it reads, for some milliseconds. Raises `ConfigInvalid` when made."""

    def __init__(
        self,
        broker: Broker,
        nodes: Mapping[str, Node] = MappingProxyType({}),
        http: Http | None = None,
        check: Callable[[], Iterable[Finding]] = tuple,
    ) -> None:
        self._broker = broker
        self._nodes = nodes
        self._http = http or Http()
        self._check = check
        self._in_force = self._read()

    @property
    def broker_urls(self) -> list[str]:
        """Secrets: for connecting, never for showing."""
        return list(self._in_force.broker_urls)

    @property
    def broker_context(self) -> ssl.SSLContext:
        return self._in_force.broker

    def node_context(self, node: Node) -> ssl.SSLContext:
        return self._in_force.nodes[node]

    def reload(self, renew: Renew, *others: Callable[[], None]) -> bool:
        """Reads everything again and hands the broker's part to `renew`. False, and nothing changed, if it is wrong.

        `others` read what is theirs, as the HTTP port's token and certificate: judged here with all the rest, the
        port's by itself and what else there is by `check`.
        """
        mistakes = (
            *credential.check_broker(self._broker),
            *credential.check_nodes(self._nodes.items()),
            *credential.check_http(self._http),
            *self._check(),
        )
        for finding in mistakes:
            told = {"path": finding.path, "found": finding.found, "expected": finding.expected}
            log.error("secrets_not_reloaded", extra={"code": ConfigInvalid.code.value, **told})
        if mistakes:
            return False
        self._in_force = self._read()
        renew(self.broker_urls, self.broker_context)
        for other in others:
            other()
        log.info("secrets_reloaded")
        return True

    def _read(self) -> _InForce:
        return _InForce(
            tuple(self._broker.read_urls()),
            self._broker.tls.read_context(),
            {node: node.tls.read_context() for node in self._nodes.values()},
        )
