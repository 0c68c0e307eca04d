"""Makes what the first start of the composition needs: certificates, keys, passwords, configurations, definitions.

Run once, as root, without a network, by the service `setup` of compose.yaml; later runs find the stamp and leave
everything alone. Each part gets a folder (a volume) of its own and sees nobody else's: files of mode 0600 that
belong to the user the part runs as. The passwords of all users are together only in the memory-backed scratch
folder, from which RabbitMQ's definitions are made as `channel-bridge topology permissions` makes them: with hashes.

A run that was cut short left no stamp and is repeated whole: nothing has used what it left.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bridge.app import config, deployment
from bridge.signing.key import generate
from bridge.signing.secret import write_secret

STAMP = "complete"
PARTS = ("broker", "bridge", "signer-initiator", "signer-responder", "people")
ROLES = ("initiator", "responder")
SERVICE_UID = 10001
CERTIFICATE_DAYS = 825
CHANNEL = "acme-7"
NETWORK = "ae_dev"
INITIATOR_AMOUNT, RESPONDER_AMOUNT = 1_000_000_000_000_000_000, 500_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Site:
    """Where the parts find each other, and who owns the broker's files."""

    root: Path
    broker: str
    node: str
    broker_uid: int

    @property
    def broker_host(self) -> str:
        return self.broker.rpartition(":")[0]

    @property
    def node_host(self) -> str:
        return self.node.rpartition(":")[0]

    def folder(self, part: str) -> Path:
        return self.root / part


def main() -> int:
    site = read_arguments()
    stamp = site.folder("people") / STAMP
    if stamp.exists():
        print("setup: complete since an earlier start, nothing changed")
        return 0
    os.umask(0o077)
    with tempfile.TemporaryDirectory() as scratch:
        clear(site)
        make_certificates(site, Path(scratch))
        write_parts(site, Path(scratch))
    give_away(site)
    stamp.touch(mode=0o644)
    print(f"setup: made certificates, keys, passwords and configurations for {', '.join(PARTS)}")
    return 0


def read_arguments() -> Site:
    parser = argparse.ArgumentParser(description="Makes what the first start of the composition needs.")
    parser.add_argument("root", type=Path, help="the folder with one volume a part")
    parser.add_argument("--broker", default="rabbitmq:5671", help="host and TLS port of the broker")
    parser.add_argument("--node", default="node:3014", help="host and port of the simulated node")
    parser.add_argument("--broker-uid", type=int, default=999, help="the user RabbitMQ runs as")
    given = parser.parse_args()
    return Site(given.root, given.broker, given.node, given.broker_uid)


def clear(site: Site) -> None:
    """What an unfinished run left. The folders belong to us, so the files in them may be removed whoever owns them."""
    for part in PARTS:
        site.folder(part).mkdir(mode=0o755, exist_ok=True)
        site.folder(part).chmod(0o755)
        for file in site.folder(part).iterdir():
            file.unlink()


# --- certificates ---------------------------------------------------------------------------------------------


def make_certificates(site: Site, scratch: Path) -> None:
    """An authority of this composition alone, and the broker's certificate. The authority's key is thrown away."""
    authority, key = scratch / "ca.pem", scratch / "ca.key"
    make_key(key)
    openssl(
        *("req", "-x509", "-new", "-key", key, "-days", CERTIFICATE_DAYS, "-subj", "/CN=channel-bridge compose"),
        *("-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext", "keyUsage=critical,keyCertSign"),
        *("-out", authority),
    )
    broker_key, request = site.folder("broker") / "server.key", scratch / "server.csr"
    make_key(broker_key)
    openssl("req", "-new", "-key", broker_key, "-subj", f"/CN={site.broker_host}", "-out", request)
    extensions = scratch / "server.ext"
    extensions.write_text(
        f"subjectAltName=DNS:{site.broker_host}\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n"
    )
    openssl(
        *("x509", "-req", "-in", request, "-CA", authority, "-CAkey", key, "-CAcreateserial"),
        *("-days", CERTIFICATE_DAYS, "-extfile", extensions, "-out", site.folder("broker") / "server.pem"),
    )
    for part in PARTS:
        (site.folder(part) / "ca.pem").write_bytes(authority.read_bytes())


def make_key(path: Path) -> None:
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)


def openssl(*words: object) -> None:
    """Its own words are shown if it fails, and nothing is stamped."""
    ending = subprocess.run(  # noqa: S603  # every word is ours
        ["openssl", *map(str, words)],  # noqa: S607  # the image's own
        capture_output=True,
        text=True,
        check=False,
    )
    if ending.returncode != 0:
        sys.exit(f"setup: openssl {words[0]} ended with {ending.returncode}:\n{ending.stderr}")


# --- configurations -------------------------------------------------------------------------------------------


def write_parts(site: Site, scratch: Path) -> None:
    accounts: dict[str, str] = {role: generate(site.folder(f"signer-{role}") / "key") for role in ROLES}
    write_secret(site.folder("bridge") / "journal.key", deployment.new_secret())
    users = dict(user_tables(accounts))
    for user in users:
        write_url(site, scratch, user)
    for role in ROLES:
        (site.folder(f"signer-{role}") / "config.toml").write_text(signer_file(accounts, role))
    settings = bridge_file(site, accounts)
    (site.folder("bridge") / "config.toml").write_text(settings)
    whole = scratch / "deployment.toml"
    passwords = "".join(f'{table}password_file = "{scratch / user}"\n' for user, table in users.items())
    for name in ("journal.key", "amqp_url", "ca.pem"):
        settings = settings.replace(f'"{name}"', f'"{site.folder("bridge") / name}"')
    whole.write_text(settings + passwords)
    definitions = deployment.definitions(config.load(whole, {}))
    (site.folder("broker") / "definitions.json").write_text(json.dumps(definitions, indent=2) + "\n")
    account_lines = "".join(f"{role.upper()}={account}\n" for role, account in accounts.items())
    (site.folder("people") / "accounts").write_text(account_lines)


def user_tables(accounts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each user of the broker with the rights of its role and no more, as tables of the bridge's file."""
    yield "bridge", user_table("bridge", "bridge")
    for role in ROLES:
        yield f"signer-{role}", user_table(f"signer-{role}", "signer", f'accounts = ["{accounts[role]}"]')
    yield "shop", user_table("shop", "client", f'channels = ["{CHANNEL}", "{CHANNEL}-peer"]')
    yield "books", user_table("books", "observer", 'channels = ["*"]')
    yield "operator", user_table("operator", "operator", 'channels = ["*"]')


def user_table(name: str, role: str, bounds: str = "") -> str:
    return f'\n[[users]]\nname = "{name}"\nrole = "{role}"\n{bounds}\n'


def write_url(site: Site, scratch: Path, user: str) -> None:
    """The user's password, and his URL where his part finds it."""
    password = deployment.new_secret()
    write_secret(scratch / user, password)
    folder = site.folder(user if user in PARTS else "people")
    name = "amqp_url" if user in PARTS else f"{user}_url"
    write_secret(folder / name, f"amqps://{user}:{password}@{site.broker}/")


def bridge_file(site: Site, accounts: Mapping[str, str]) -> str:
    own = {"initiator": CHANNEL, "responder": f"{CHANNEL}-peer"}
    peers = {"initiator": accounts["responder"], "responder": accounts["initiator"]}
    return BRIDGE.format(node=site.node, host=site.node_host, network=NETWORK) + "".join(
        CHANNEL_TABLE.format(
            name=own[role],
            role=role,
            peer=peers[role],
            amounts=f'initiator_amount = "{INITIATOR_AMOUNT}"\nresponder_amount = "{RESPONDER_AMOUNT}"',
            limit=INITIATOR_AMOUNT,
            **accounts,
        )
        for role in ROLES
    )


def signer_file(accounts: Mapping[str, str], role: str) -> str:
    (peer,) = set(ROLES) - {role}
    return SIGNER.format(
        account=accounts[role], peer=accounts[peer], role=role, network=NETWORK, limit=INITIATOR_AMOUNT
    )


BRIDGE = """\
[journal]
key_file = "journal.key"

[broker]
url_file = "amqp_url"
tls.ca_file = "ca.pem"

# The simulated node speaks no TLS. It shares a private network with the bridge and nobody else: named here, warned
# of at each start. A real node stands behind a proxy that speaks TLS (wss://) and needs no such line.
[nodes.simulated]
url = "ws://{node}/channel"
network_id = "{network}"
plain_hosts = ["{host}"]
"""

CHANNEL_TABLE = """
[[channels]]
name = "{name}"
node = "simulated"
role = "{role}"
initiator = "{initiator}"
responder = "{responder}"
{amounts}

[channels.policy]
commands = ["transfer", "deposit", "withdraw", "message", "shutdown", "query"]
max_amount = "{limit}"
outflow_per_hour = "{limit}"
outflow_per_day = "{limit}"
counterparties = ["{peer}"]
acknowledge = ["update_ack", "deposit_ack", "withdraw_ack", "shutdown_sign_ack"]
"""

SIGNER = """\
keys = ["key"]

[broker]
url_file = "amqp_url"
tls.ca_file = "ca.pem"

[policy.{account}]
tags = ["{role}_sign", "update", "update_ack", "deposit_tx", "deposit_ack", "withdraw_tx", "withdraw_ack",
        "shutdown_sign", "shutdown_sign_ack"]
networks = ["{network}"]
counterparties = ["{peer}"]
max_amount = "{limit}"
max_fee = "1000000000000000"
"""


# --- owners ---------------------------------------------------------------------------------------------------


def give_away(site: Site) -> None:
    """Every file to the user its part runs as. The folders stay ours, so nobody adds to them."""
    for part in PARTS:
        owner = site.broker_uid if part == "broker" else SERVICE_UID
        for file in site.folder(part).iterdir():
            file.chmod(0o600)
            os.chown(file, owner, owner)


if __name__ == "__main__":
    sys.exit(main())
