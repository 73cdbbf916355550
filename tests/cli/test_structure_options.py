"""Options of structure are refused before anything is read or counted."""

import pytest

from routestat.analyze import app
from routestat.cli.runner import run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--blocks-method", "kmeans"],
            "method of blocks: expected one of evidence, cocluster, bicluster, got 'kmeans'",
        ),
        (
            ["--blocks-matrix", "counts"],
            "matrix of blocks: expected one of lift, conditional, joint, got 'counts'",
        ),
    ],
)
def test_blocks(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["routestat analyze", str(tmp_path / "none"), *options])
    assert run(app, "routestat analyze") == 2
    assert message in " ".join(capsys.readouterr().err.split())
