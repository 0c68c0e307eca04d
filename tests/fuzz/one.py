"""One target under atheris, in a process of its own: `python -m tests.fuzz.one TARGET [libFuzzer's options]`.

Ends with libFuzzer's own line and exit code; a finding leaves its input in the file that `-artifact_prefix` names.
"""

import sys

import atheris

with atheris.instrument_imports(include=["bridge"]):
    from tests.fuzz.target import TARGETS


def main() -> None:
    name, *options = sys.argv[1:]
    target = TARGETS[name]

    def feed(data: bytes) -> None:
        target.feed(data)

    atheris.Setup([sys.argv[0], *options], feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
