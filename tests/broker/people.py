"""One user per role, with what each may touch: the same people in every test of this room."""

from bridge.broker.permission import Role, User

PREFIX = "channels"
ALICE_ACCOUNT = "ak_2a1j2Mk9YSmC1gioUq4PWRm3bsv887MbuRVwyv4KaUGoR1eiKi"
BOB_ACCOUNT = "ak_nQpnNuBPQwibGpSJmjAah6r3ktAB7pG9JHuaGWHgLKxaKqEvC"


def _user(name: str, role: Role, *, channels: tuple[str, ...] = (), accounts: tuple[str, ...] = ()) -> User:
    return User(name, role, channels, accounts, password=f"{name} / p%ss: wörd")


USERS = (
    _user("bridge", Role.BRIDGE),
    _user("signer-a", Role.SIGNER, accounts=(ALICE_ACCOUNT,)),
    _user("signer-b", Role.SIGNER, accounts=(BOB_ACCOUNT,)),
    _user("alice", Role.CLIENT, channels=("acme-7", "acme-8")),
    _user("bob", Role.CLIENT, channels=("*",)),
    _user("carol", Role.APPROVER, channels=("acme-7",)),
    _user("otto", Role.OPERATOR, channels=("*",)),
    _user("olga", Role.OBSERVER, channels=("acme-7",)),
    _user("builder", Role.TOPOLOGY),
)
PASSWORDS = {user.name: user.password for user in USERS if user.password is not None}
