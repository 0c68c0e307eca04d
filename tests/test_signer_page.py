"""What docs/signer.md shows is what the program takes and gives: a reader copies from it."""

import re
import tomllib
from pathlib import Path

from bridge.app.signersettings import Keys, SignerConfig
from bridge.signing.guard import KEPT_ROUNDS, REPLY_SECONDS
from bridge.signing.refusal import MEANINGS, Objection
from bridge.signing.transit import TRANSIENT

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "signer.md").read_text()
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_whole_file_is_one() -> None:
    """Whoever copies it has a signer that starts, with keys of his own."""
    config = SignerConfig(**tomllib.loads(BLOCKS[0]))
    assert config.keys.password_file is not None
    assert config.guard.data_dir == Path("/var/lib/channel-signer")


def test_the_other_keys_are_what_the_program_takes() -> None:
    """Each backend has an example, and every option it names exists."""
    keys = [Keys.model_validate(tomllib.loads(block)["keys"]) for block in BLOCKS[1:]]
    assert [bool(one.commands) for one in keys] == [True, False]
    assert [bool(one.transit) for one in keys] == [False, True]


def test_every_word_of_a_refusal_is_explained_as_the_program_explains_it() -> None:
    """Programs search for the word, people for the sentence."""
    rows = re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", PAGE, re.MULTILINE)
    assert dict(rows) == {word.value: MEANINGS[word] for word in Objection}


def test_figures_are_the_programs() -> None:
    """A number on a page outlives the one in the code."""
    assert f"The highest {KEPT_ROUNDS} rounds" in PAGE
    assert SignerConfig(keys=[]).guard.reply_days * 24 * 3600 == REPLY_SECONDS
    assert "For seven days" in PAGE
    told = {int(word) for word in re.findall(r"\b4\d\d\b", PAGE)}
    assert told == {status for status in TRANSIENT if status < 500}
