"""The private RabbitMQ: alone on loopback, and gone without a trace."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bridge.broker.package import BrokerNotFound, Program, default_directory, fetch
from bridge.broker.private import BrokerStartFailed, PrivateBroker

LISTENING = "0A"


def _listening(pids: set[int]) -> set[str]:
    """The local addresses, as hex, on which these processes listen."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    addresses = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENING and words[9] in inodes:
                addresses.add(words[1].split(":")[0])
    return addresses


def _group(leader: int) -> set[int]:
    """All processes of one process group, as far as they live."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(words[2]) == leader and words[0] != "Z":
                found.add(int(entry.name))
    return found


def _broken_program(tmp_path: Path) -> Program:
    """A server that ends at once, beside an `epmd` that would live on."""
    broken = tmp_path / "rabbitmq-server"
    broken.write_text("#!/bin/sh\necho the disk is on fire\nexit 3\n")
    broken.chmod(0o755)
    sleeper = tmp_path / "epmd"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    return Program(broken, sleeper, tmp_path)


def test_everything_listens_on_loopback_only(private_broker: PrivateBroker) -> None:
    """Erlang's distribution port and `epmd` listen on every interface unless they are told not to."""
    pids = set().union(*(_group(pid) for pid in private_broker.pids))
    addresses = _listening(pids)
    assert addresses
    assert addresses <= {"0100007F", "00000000000000000000000001000000"}


async def test_nothing_is_left_behind(private_broker: PrivateBroker, tmp_path: Path) -> None:
    """A test run that leaves a broker on the machine is worse than none.

    Ended by the death of its owner, without a chance to tidy up: the hardest way to go.
    """
    program = textwrap.dedent("""
        import asyncio, sys
        from bridge.broker.private import PrivateBroker

        async def main():
            broker = PrivateBroker()
            await broker.start()
            print(*broker.pids, broker._directory, flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
    """)
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    async with asyncio.timeout(90):
        words = (await owner.stdout.readline()).decode().split()
    leaders, directory = [int(word) for word in words[:-1]], Path(words[-1])
    groups = [_group(leader) for leader in leaders]
    assert all(groups)
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    async with asyncio.timeout(10):
        while any(_group(leader) for leader in leaders):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.02)
    assert directory.is_dir()
    with pytest.raises(BrokerStartFailed):
        await PrivateBroker(program=_broken_program(tmp_path)).start()
    assert not directory.exists(), "the next start sweeps up after the dead"


async def test_broker_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    """The reason stands in its last words, not in a time-out."""
    broker = PrivateBroker(program=_broken_program(tmp_path))
    with pytest.raises(BrokerStartFailed, match="the disk is on fire"):
        await broker.start()
    assert broker.pids == ()


def test_machine_without_apt_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing somebody on another system sees."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerNotFound, match=r"no apt-get.*Set AMQP_URL"):
        fetch(tmp_path / "cache")


def test_cache_directory_is_configurable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Images and CI keep it between runs."""
    monkeypatch.setenv("CHANNEL_BRIDGE_BROKER_DIR", str(tmp_path))
    assert default_directory() == tmp_path
    monkeypatch.delenv("CHANNEL_BRIDGE_BROKER_DIR")
    monkeypatch.chdir(tmp_path)
    assert default_directory() == tmp_path / ".broker"


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the distribution's tools: programs that write what the real ones would."""
    tools = tmp_path / "tools"
    tools.mkdir()
    log = tmp_path / "log"
    scripts = {
        "apt-get": f"""
            echo "apt-get $*" >> {log}
            case "$*" in
              "-s "*) echo "Inst liboptional1 (1.0)"; echo "Inst logrotate (1.0)" ;;
              *" download "*) sleep 0.3; touch server.deb ;;
            esac
        """,
        "apt-cache": 'printf "rabbitmq-server\\n  Depends: erlang-base\\nerlang-base\\nadduser\\n"',
        "dpkg": """
            mkdir -p "$3/usr/lib/erlang/bin" "$3/usr/lib/rabbitmq/lib/rabbitmq_server-9.9/sbin"
            touch "$3/usr/lib/rabbitmq/lib/rabbitmq_server-9.9/sbin/rabbitmq-server"
            printf '#!/bin/sh\\n    ROOTDIR=/usr/lib/erlang\\necho "$ROOTDIR"\\n' > "$3/usr/lib/erlang/bin/erl"
            chmod 755 "$3/usr/lib/erlang/bin/erl"
        """,
    }
    for name, script in scripts.items():
        path = tools / name
        path.write_text("#!/bin/sh\n" + textwrap.dedent(script))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return log


def test_two_processes_fetch_once(distribution: Path, tmp_path: Path) -> None:
    """Two test runs on a fresh machine must not unpack into each other."""
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(4) as pool:
        programs = list(pool.map(lambda _: fetch(cache), range(4)))
    assert len(set(programs)) == 1
    downloads = [line for line in distribution.read_text().splitlines() if " download " in line]
    assert len(downloads) == 1
    assert downloads[0].endswith("download erlang-base liboptional1 rabbitmq-server")
    assert not (cache / "unpacking").exists()


def test_unpacked_erlang_finds_itself_wherever_it_lies(distribution: Path, tmp_path: Path) -> None:
    """Its start script names the folder of the installed package; ours lies elsewhere, and may be moved."""
    fetch(tmp_path / "cache")
    (tmp_path / "cache").rename(tmp_path / "moved here")
    program = fetch(tmp_path / "moved here")
    printed = subprocess.run([program.tools / "erl"], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(tmp_path / "moved here" / "root" / "usr" / "lib" / "erlang")


def test_failed_fetch_says_what_failed_and_can_be_repeated(
    distribution: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without a network, or one whose network came back."""
    failing = tmp_path / "failing"
    failing.mkdir()
    (failing / "apt-get").write_text("#!/bin/sh\necho 'E: could not resolve the mirror' >&2\nexit 100\n")
    (failing / "apt-get").chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{failing}:{os.environ['PATH']}")
        with pytest.raises(BrokerNotFound, match="could not resolve the mirror"):
            fetch(tmp_path / "cache")
    assert fetch(tmp_path / "cache").server.is_file()
