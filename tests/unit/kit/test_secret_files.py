from __future__ import annotations

from pathlib import Path

import pytest
from autopack_kit.errors import AlreadyExists, FailedPrecondition
from autopack_kit.secret_files import write_secret


def test_write_secret_over_a_file_leaves_it_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_secret(path, b"one")
    with pytest.raises(AlreadyExists):
        write_secret(path, b"two")
    assert path.read_bytes() == b"one"
    write_secret(path, b"three", replace=True)
    assert [item.read_bytes() for item in tmp_path.iterdir()] == [b"three"]


def test_write_secret_where_no_directory_can_be_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FailedPrecondition) as caught:
        write_secret(tmp_path / "file" / "secret", b"one")
    assert caught.value.reason == "SECRET_FILE_UNWRITABLE"
    assert "AUTOPACK_DATA_DIR" in caught.value.remedy
