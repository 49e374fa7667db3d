"""make release-check: no release of a tree that does not agree on its own version."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deb import release
from deb.source import CHECKOUT, version
from dtagent import __version__


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of every file that names the version."""
    for name in release.PLACES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, tmp_path / name)
    return tmp_path


def test_this_checkout_agrees_with_itself() -> None:
    assert version() == __version__
    assert list(release.differences(__version__, CHECKOUT)) == []


@pytest.mark.parametrize("name", release.PLACES)
def test_one_file_of_another_version_is_named(tree: Path, name: str) -> None:
    text = (tree / name).read_text()
    (tree / name).write_text(text.replace(__version__, "99.0.1", 1))
    assert list(release.differences(__version__, tree)) == [
        f"{name} says 99.0.1, and not {__version__}"
    ]


def test_a_file_without_a_version_is_named_too(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text("# Changelog\n")
    assert list(release.differences(__version__, tree)) == [
        f"CHANGELOG.md says no version, and not {__version__}"
    ]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([__version__], 0, ""),
        (["99.0.1"], 1, f"dtagent/__init__.py says {__version__}, and not 99.0.1"),
        ([""], 2, "VERSION is '': give three numbers, as in VERSION=1.2.3"),
        (["v1.0"], 2, "VERSION is 'v1.0': give three numbers"),
    ],
)
def test_the_command_says_so_and_fails(
    words: list[str],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["release", *words])
    assert release.main() == status
    assert said in capsys.readouterr().err
