"""The emergency file keeps what it took, through crashes and a full disk."""

from pathlib import Path

import pytest

from portfolio.core.errors import JournalError
from server.emergency import EmergencyFile


def test_records_come_back_in_order_after_the_process_is_gone(tmp_path: Path) -> None:
    first = EmergencyFile(tmp_path / "e", size=4096)
    first.append(b"one")
    first.append(b"two")
    first.close()
    again = EmergencyFile(tmp_path / "e", size=4096)
    assert again.records() == (b"one", b"two")
    again.append(b"three")
    again.close()
    last = EmergencyFile(tmp_path / "e", size=4096)
    assert last.records() == (b"one", b"two", b"three")
    last.close()


def test_the_file_has_its_full_size_from_the_start_and_never_grows(tmp_path: Path) -> None:
    subject = EmergencyFile(tmp_path / "e", size=4096)
    assert (tmp_path / "e").stat().st_size == 4096
    assert (tmp_path / "e").stat().st_blocks > 0, "reserved, not sparse"
    subject.append(b"x" * 1000)
    assert (tmp_path / "e").stat().st_size == 4096
    subject.close()


def test_a_full_file_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    subject = EmergencyFile(tmp_path / "e", size=64)
    subject.append(b"x" * 40)
    with pytest.raises(JournalError, match="no room"):
        subject.append(b"y" * 40)
    assert subject.records() == (b"x" * 40,)
    subject.close()


def test_a_torn_last_record_is_dropped_and_overwritten(tmp_path: Path) -> None:
    subject = EmergencyFile(tmp_path / "e", size=4096)
    subject.append(b"whole")
    subject.append(b"torn in the middle")
    subject.close()
    content = bytearray((tmp_path / "e").read_bytes())
    content[8 + 5 + 8 + 4] ^= 0xFF
    (tmp_path / "e").write_bytes(content)
    again = EmergencyFile(tmp_path / "e", size=4096)
    assert again.records() == (b"whole",)
    again.append(b"new")
    again.close()
    last = EmergencyFile(tmp_path / "e", size=4096)
    assert last.records() == (b"whole", b"new")
    last.close()


def test_a_cleared_file_is_empty_for_ever(tmp_path: Path) -> None:
    subject = EmergencyFile(tmp_path / "e", size=4096)
    subject.append(b"one")
    subject.append(b"two")
    subject.clear()
    assert subject.records() == ()
    subject.append(b"n")
    subject.close()
    again = EmergencyFile(tmp_path / "e", size=4096)
    assert again.records() == (b"n",)
    again.close()


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    EmergencyFile(tmp_path / "e", size=4096).close()
    assert (tmp_path / "e").stat().st_mode & 0o777 == 0o600


def test_a_missing_folder_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="Check the disk"):
        EmergencyFile(tmp_path / "nowhere" / "e")


def test_an_empty_record_is_refused(tmp_path: Path) -> None:
    subject = EmergencyFile(tmp_path / "e", size=4096)
    with pytest.raises(JournalError):
        subject.append(b"")
    subject.close()
