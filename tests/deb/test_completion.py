"""Completion as a shell of the package's own release has it, from the file that was packaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deb.build import FLAVOURS
from deb.container import inside, writable
from deb.host import run
from deb.root import root

from .conftest import named, unpacked

SHELLS = ("bash-completion", "zsh")
# bash-completion's loader is what TAB calls for a command that it has not met: it finds the file.
BASH = """\
function_of() { complete -p "$@" | sed 's/.* -F \\([^ ]*\\).*/\\1/'; }
. /usr/share/bash-completion/bash_completion
"$(function_of -D)" dtagent
cd /srv
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$(function_of dtagent)" dtagent "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = "autoload -Uz compinit && compinit -u -D && print -r -- $_comps[dtagent]"


@dataclass(frozen=True)
class Release:
    """A Debian release with both shells, the package's files, and in /srv something to complete."""

    folder: Path

    def bash(self, *words: str) -> set[str]:
        """What it offers after these words, of which the last is not complete."""
        bash = ("bash", "--norc", "--noprofile", "-c", BASH, "bash", "dtagent")
        return set(inside(self.folder, *bash, *words).split())

    def zsh(self, *arguments: str) -> str:
        return inside(self.folder, "zsh", "-f", *arguments)


@pytest.fixture(scope="module", params=[FLAVOURS[0], FLAVOURS[-1]], ids=named)
def release(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """One for each flavour: all its architectures get the same scripts."""
    package = unpacked(request.param, tmp_path_factory.mktemp("completion"))
    with writable(root(package.flavour.suite, SHELLS)) as folder:
        run("cp", "-r", package.files / "usr/share", folder / "usr")
        (folder / "srv/tree").mkdir()
        (folder / "srv/board.dtb").touch()
        yield Release(folder)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], {"run", "scan", "publish", "check-config", "status", "doctor", "clear"}),
        (["c"], {"check-config", "clear"}),
        (["scan", "--dt"], {"--dtb"}),
        (["publish", "--d"], {"--dry-run"}),
        (["status", "--d"], set()),
        (["scan", "-o", ""], {"text", "json", "nfd"}),
        (["scan", "-o", "n"], {"nfd"}),
        (["status", "-o", ""], {"text", "json"}),
        (["scan", "--dtb", ""], {"board.dtb", "tree"}),
        (["check-config", "--config", "b"], {"board.dtb"}),
        (["scan", "--root", ""], {"tree"}),
        (["scan", "--root", "tree", "-o", "j"], {"json"}),
    ],
)
def test_bash_finds_the_script_and_completes_commands_options_choices_and_files(
    release: Release, words: list[str], offered: set[str]
) -> None:
    assert release.bash(*words) == offered


def test_zsh_finds_the_script_and_can_parse_it(release: Release) -> None:
    assert release.zsh("-c", ZSH) == "_dtagent\n"
    assert release.zsh("-n", "/usr/share/zsh/vendor-completions/_dtagent") == ""
