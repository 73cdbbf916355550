from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def found() -> Iterator[list[str]]:
    """Lines of measured rates, printed together when the module is done (seen with `pytest -s`)."""
    lines: list[str] = []
    yield lines
    if lines:
        print("\n" + "\n".join(lines))
