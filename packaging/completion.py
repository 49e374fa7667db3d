"""Writes the completion of a shell, `bash` or `zsh`, to standard output: when a package is built.

shtab makes it of the command's own parser, and nothing of it is imported at run time; argcomplete
would start Python, and import the command, at each press of TAB.
"""

import argparse
import sys
from collections.abc import Iterator

import shtab

from dtagent.cli import parser

COMPLETED = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}


def actions(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of the command, and of its own commands."""
    for action in command._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from actions(each)


def main() -> None:
    """Write the script for the shell that is named on the command line."""
    command = parser()
    for action in actions(command):
        if complete := COMPLETED.get(str(action.metavar)):
            action.complete = complete  # type: ignore[attr-defined]
    script = shtab.complete(command, shell=sys.argv[1])
    # shtab 1.5.5, that of Debian 12, offers the first choice alone.
    for old, new in (
        ('_choices"\n', '_choices[@]"\n'),
        ('="${!current_action_choices_var}"', '=("${!current_action_choices_var}")'),
        ('"${current_action_choices}"', '"${current_action_choices[*]}"'),
    ):
        script = script.replace(old, new)
    print(script)


main()
