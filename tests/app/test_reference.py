"""`bridge.app.reference`: the pages about options and codes are made from the program, and are up to date."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from bridge.app.config import load, load_signer
from bridge.app.meaning import MEANINGS
from bridge.app.option import find_model, options
from bridge.app.reference import BRIDGE_EXAMPLE, SIGNER_EXAMPLE, errors_markdown, main, markdown
from bridge.app.settings import Config
from bridge.app.signersettings import SignerConfig
from bridge.errors import Code, ConfigInvalid
from bridge.signing.secret import write_secret

DOCS = Path(__file__).parents[2] / "docs"


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    inner = [found for field in model.model_fields.values() if (found := find_model(field.annotation))]
    return {model}.union(*(_models(one) for one in inner))


MODELS = sorted(_models(Config) | _models(SignerConfig), key=lambda model: model.__name__)


@pytest.mark.parametrize("name", ["cli.md", "configuration.md", "errors.md", "messages.md"])
def test_page_is_the_one_the_program_makes(tmp_path: Path, name: str) -> None:
    """An option or code that changes without its page misleads whoever runs the bridge.

    `python -m bridge.app.reference docs` makes the pages again.
    """
    main(tmp_path)
    assert (DOCS / name).read_text(encoding="utf-8") == (tmp_path / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_option_has_a_meaning_on_the_page(model: type[BaseModel]) -> None:
    """An option nobody explains is one nobody dares to change."""
    page = markdown()
    for option in options(model):
        assert option.meaning, option.name
        assert f"| `{option.name}` |" in page
        assert option.meaning in page


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_number_of_something_has_its_unit(model: type[BaseModel]) -> None:
    """A number without a unit is read in the wrong one."""
    counts = {"port", "nonce", "conflict_retries", "proof_rounds"}
    for option in options(model):
        if "number" in option.form and option.name not in counts:
            assert option.unit, option.name


def test_every_code_has_a_meaning_and_stands_once_on_the_page() -> None:
    """Operators search for a code; they must find it."""
    assert set(MEANINGS) == set(Code)
    rows = re.findall(r"^\| `([a-z_]+)` \|.*\| (yes|no) \|$", errors_markdown(), re.MULTILINE)
    assert rows == [(code.value, "yes" if code.is_retryable else "no") for code in Code]


def test_example_of_the_bridges_file_is_right(tmp_path: Path) -> None:
    """People copy examples before they read."""
    (tmp_path / "secrets").mkdir()
    write_secret(tmp_path / "secrets" / "journal_key", "00" * 32)
    write_secret(tmp_path / "secrets" / "amqp_url", "amqp://localhost")
    path = tmp_path / "bridge.toml"
    path.write_text(BRIDGE_EXAMPLE)
    assert load(path, {}).channels[0].name == "acme-7"


def test_example_of_the_signers_file_lacks_nothing_but_the_key(tmp_path: Path) -> None:
    """The example's account is public; its key is nobody's to give away."""
    (tmp_path / "secrets" / "keys").mkdir(parents=True)
    write_secret(tmp_path / "secrets" / "keys" / "one", "00" * 32)
    write_secret(tmp_path / "secrets" / "amqp_url", "amqp://localhost")
    path = tmp_path / "signer.toml"
    path.write_text(SIGNER_EXAMPLE)
    with pytest.raises(ConfigInvalid) as caught:
        load_signer(path, {})
    assert [finding.found for finding in caught.value.findings] == ["no key"]
