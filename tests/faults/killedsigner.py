"""A signer that kills itself: `python -m tests.faults.killedsigner SIGNER_TOML SIDE NUMBER`.

SIDE is `before`, `after` or `never` the NUMBER-th durable commit since its start. Otherwise the signer's own code runs
unchanged: the trap stands around its store's transactions, from outside.
"""

import asyncio
import os
import sys
from pathlib import Path

from bridge.app import config as configuration
from bridge.app import signer
from tests.signing.victim import trap


def main(words: list[str]) -> None:
    path, side, number = words
    loaded = configuration.load_signer(Path(path), os.environ)
    trap(side, int(number), [0])
    asyncio.run(signer.run(loaded))


if __name__ == "__main__":
    main(sys.argv[1:])
