"""docs/coverage.md is what `python -m tests.coverage` writes."""

import re

from .coverage import PAGE, available, page


def rows(text):
    return {line for line in text.splitlines() if line.startswith("|")}


def check(written):
    """With the NumPy and SciPy that it was written with it is the same; others may lack some functions."""
    found, known = page(), rows(written)
    assert not rows(found) - known, "run `python -m tests.coverage`"
    for row in known - rows(found):
        assert not any(map(available, re.findall(r"`((?:np|scipy)\.[\w.]+)`", row))), row
    if rows(found) == known:
        assert found == written


def test_the_page_is_up_to_date():
    check(PAGE.read_text(encoding="utf-8"))
