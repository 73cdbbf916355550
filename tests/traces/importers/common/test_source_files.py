"""Files of a folder that are not read are noted."""

from tests.traces.importers.common.responses import one
from tests.traces.importers.known import stored


def test_files_of_a_folder_that_nobody_reads_are_noted(capsys, tmp_path, experts):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "a.json").write_text(one(experts))
    (folder / "b.jsn").write_text(one(experts))
    (folder / "README.md").write_text("x")
    _, _, err = stored(capsys, folder, tmp_path, "--n-experts", 8)
    assert f"1 files of {folder} are not read: b.jsn" in err
