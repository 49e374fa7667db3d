"""The command line, and the only place where an error becomes an exit status.

0 fine, 1 it could not be done, 2 wrong usage or configuration.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dtagent import __version__, commands
from dtagent.config import sources
from dtagent.config.settings import SELECTOR, TEXT, Check
from dtagent.errors import ConfigError, DtagentError
from dtagent.host import log

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = parser().parse_args(argv)
    log.setup("info")
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
        sys.stdout.flush()
    except DtagentError as error:
        wrong = isinstance(error, ConfigError)
        for line in str(error).splitlines():
            logger.error("%s", line, extra=log.event(log.CONFIGURATION_WRONG) if wrong else None)
        return 2 if wrong else 1
    except BrokenPipeError:
        # Whoever read us has had enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("DTAGENT_LOG_LEVEL") == "debug":
            raise
        logger.critical(
            "internal error, please report it: %s: %s (DTAGENT_LOG_LEVEL=debug shows where)",
            type(error).__name__, error,
        )  # fmt: skip
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """All that the command line may say; the shells' completions are made of it as well."""
    # As wide on every terminal. Python 3.14 colours help by itself, unless NO_COLOR is set.
    form = partial(argparse.RawDescriptionHelpFormatter, width=80)
    common = argparse.ArgumentParser(add_help=False)
    for flag, check, metavar, text in (
        ("--config", Path, "FILE", f"settings (default: {sources.DEFAULT_FILE})"),
        ("--kubeconfig", _checked(TEXT), "FILE", "the node's kubeconfig"),
        ("--node-name", _checked(TEXT), "NAME", "the Node to label"),
        ("--root", lambda text: Path(_checked(TEXT)(text)), "DIR", "the devicetree's folder"),
    ):
        common.add_argument(flag, type=check, metavar=metavar, help=text)
    common.add_argument(
        "-n", dest="nodes", nargs="+", action="extend", default=[], metavar="NODE",
        type=_checked(SELECTOR), help="further nodes to count: NAME, /PATH or compatible:GLOB",
    )  # fmt: skip
    top = argparse.ArgumentParser(
        prog="dtagent", formatter_class=form, epilog="example:\n  dtagent scan",
        description="Keep this host's Kubernetes Node labelled by its devicetree.",
    )  # fmt: skip
    top.add_argument("--version", action="version", version=f"dtagent {__version__}")
    subparsers = top.add_subparsers(required=True, metavar="COMMAND")
    added = {}
    for run, text, example in (
        (commands.run, "keep the labels true until stopped (what the service runs)", "--dry-run"),
        (commands.scan, "print the labels that the devicetree gives, and stop", "-n gpu -o json"),
        (commands.publish, "scan, bring the Node up to date once, and stop", "--dry-run"),
        (commands.check_config, "validate the configuration and print what is in effect",
         "--config new.toml"),
        (commands.status, "say what the running agent last did; fails while not all is well",
          "-o json"),
        (commands.doctor, "try each thing that the agent needs, and name the remedies", ""),
        (commands.clear, "take our labels off the Node",
         "--kubeconfig /etc/kubernetes/kubelet.conf"),
    ):  # fmt: skip
        name = run.__name__.replace("_", "-")
        added[name] = subparsers.add_parser(
            name, parents=[common], help=text, description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=form, epilog=f"example:\n  {f'dtagent {name} {example}'.strip()}",
        )  # fmt: skip
        added[name].set_defaults(command=run)
    for name in ("run", "publish"):
        text = "print each patch, send and write nothing"
        added[name].add_argument("--dry-run", action="store_true", help=text)
    text = "read a DTB file, not a live tree"
    added["scan"].add_argument("--dtb", type=Path, metavar="FILE", help=text)
    text = "key: value lines (default), JSON with notes, or Node Feature Discovery's lines"
    kinds = ("text", "json", "nfd")
    added["scan"].add_argument("-o", dest="output", choices=kinds, default="text", help=text)
    text = "lines for people (default), or JSON"
    for name in ("status", "doctor"):
        added[name].add_argument("-o", dest="output", choices=kinds[:2], default="text", help=text)
    text = "leave out the service, and try the rest as this shell and not as the service"
    added["doctor"].add_argument("--no-unit", action="store_true", help=text)
    return top


def _checked(check: Check) -> Callable[[str], str]:
    """A flag's value by the check that the same setting has in a file."""

    def value(text: str) -> str:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return value
