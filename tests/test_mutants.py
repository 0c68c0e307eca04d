"""The list of mutants must fit the code, or it proves nothing any more."""

import re
from pathlib import Path

import pytest

from tests.mutants import MUTANTS, PAGE, ROOT, Mutant, page


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_the_mutant_still_fits_and_its_test_exists(mutant: Mutant) -> None:
    """A change that finds nothing to change, or a test that is gone, would pass as caught or as alive for no reason."""
    assert (ROOT / mutant.path).read_text().count(mutant.old) == 1
    path, _, name = mutant.test.partition("::")
    text = Path(ROOT, path).read_text()
    assert not name or re.search(rf"^(async )?def {re.escape(name.partition('[')[0])}\(", text, re.MULTILINE)


def test_the_page_is_the_one_the_list_makes() -> None:
    assert PAGE.read_text() == page()
