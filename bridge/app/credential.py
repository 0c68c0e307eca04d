"""Tries every secret a configuration points to, so that what is wrong shows at the start and all at once.

What was read is judged and dropped. Findings name the option and the file, never the content.
"""

import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bridge.app.address import BROKER_SCHEMES, check, demands_certificate, has_password, split
from bridge.app.settings import Broker, Http, Journal, Node
from bridge.app.source import Table
from bridge.errors import ConfigInvalid, Finding


def check_secret(at: str, read: Callable[[], object]) -> Iterator[Finding]:
    """Findings of reading one secret, told at the option that points to it."""
    try:
        read()
    except ConfigInvalid as invalid:
        for finding in invalid.findings:
            yield Finding(at, f"{finding.path}: {finding.found}", finding.expected)


def check_broker(broker: Broker) -> Iterator[Finding]:
    if (broker.url is None) == (broker.url_file is None):
        found = "neither" if broker.url is None else "both"
        yield Finding("broker", found, "one of url and url_file (AMQP_URL and AMQP_URL_FILE in the environment)")
        return
    at = "broker.url" if broker.url_file is None else "broker.url_file"
    mistakes = tuple(check_secret(at, broker.read_urls))
    yield from mistakes
    urls = () if mistakes else broker.read_urls()
    if not urls and not mistakes:
        yield Finding(at, "nothing", "at least one URL")
    for url in urls:
        yield from check(at, url, BROKER_SCHEMES, broker.plain_hosts)
        yield from _check_external(at, url, broker)
    yield from check_secret("broker.tls", broker.tls.read_context)


def _check_external(at: str, url: str, broker: Broker) -> Iterator[Finding]:
    """A user known by his certificate needs one, a connection to show it on, and his name in the URL."""
    parts = split(url)
    if parts is None or not demands_certificate(url):
        return
    if parts.scheme != BROKER_SCHEMES[0] or not parts.username:
        yield Finding(at, "auth=EXTERNAL", "amqps:// and the user whom the certificate names")
    if broker.tls.certificate_file is None:
        yield Finding("broker.tls.certificate_file", "nothing", "our certificate: the URL says auth=EXTERNAL")


def check_nodes(nodes: Iterable[tuple[str, Node]]) -> Iterator[Finding]:
    for name, node in nodes:
        yield from check_secret(f"nodes.{name}.tls", node.tls.read_context)


def check_journal(journal: Journal, data_dir: Path) -> Iterator[Finding]:
    yield from check_secret("journal.key_file", journal.read_key)
    if journal.key_file.resolve().is_relative_to(data_dir.resolve()):
        yield Finding("journal.key_file", str(journal.key_file), "a file outside data_dir: who copies one has both")


def check_http(http: Http) -> Iterator[Finding]:
    yield from check_secret("http.token_file", http.read_token)
    yield from check_secret("http", http.read_context)


def check_file_mode(path: Path | None, file: Table) -> Iterator[Finding]:
    """A file with a password in it is a secret file."""
    broker = file.get("broker")
    url = broker.get("url") if isinstance(broker, dict) else None
    urls = url if isinstance(url, list) else str(url or "").replace(",", " ").split()
    if path is None or not any(isinstance(one, str) and has_password(one) for one in urls):
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        found = f"a password in a file of mode {mode:04o}"
        yield Finding("broker.url", found, "url_file, AMQP_URL, or mode 0600 for this file (chmod 600)")
