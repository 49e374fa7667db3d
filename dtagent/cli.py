"""The command line, and the only place where an error becomes an exit status.

0 fine, 1 it could not be done, 2 wrong usage or configuration.
"""

import logging
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Sequence
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
    try:
        options.command(options)
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
        text = "internal error, please report it: %s: %s (DTAGENT_LOG_LEVEL=debug shows where)"
        logger.critical(text, type(error).__name__, error)
        return 1
    return 0


def parser() -> ArgumentParser:
    """All that the command line may say; the shells' completions are made of it as well."""
    # As wide on every terminal. Python 3.14 colours help by itself, unless NO_COLOR is set.
    form = partial(RawDescriptionHelpFormatter, width=80)
    common, checked = ArgumentParser(add_help=False), partial(_checked, TEXT)
    flag = common.add_argument
    flag("--config", type=Path, metavar="FILE", help=f"settings (default: {sources.DEFAULT_FILE})")
    flag("--kubeconfig", type=checked, metavar="FILE", help="the node's kubeconfig")
    flag("--node-name", type=checked, metavar="NAME", help="the Node to label")
    flag("--root", type=checked, metavar="DIR", help="the devicetree's folder")
    text = "further nodes to count: NAME, /PATH or compatible:GLOB"
    nodes = flag("-n", dest="nodes", nargs="+", action="extend", default=[], help=text)
    nodes.type, nodes.metavar = partial(_checked, SELECTOR), "NODE"
    top = ArgumentParser("dtagent", formatter_class=form, epilog="example:\n  dtagent scan")
    top.description = "Keep this host's Kubernetes Node labelled by its devicetree."
    top.add_argument("--version", action="version", version=f"dtagent {__version__}")
    added = top.add_subparsers(required=True, metavar="COMMAND")
    for command, example in (
        (commands.run, " --dry-run"),
        (commands.scan, " -n gpu -o json"),
        (commands.publish, " --dry-run"),
        (commands.check_config, " --config new.toml"),
        (commands.status, " -o json"),
        (commands.doctor, ""),
        (commands.clear, " --kubeconfig /etc/kubernetes/kubelet.conf"),
    ):
        name, text = command.__name__.replace("_", "-"), command.__doc__ or ""  # -OO leaves none
        short = text[:1].lower() + text[1:].rstrip(".")
        each = added.add_parser(name, parents=[common], help=short, formatter_class=form)
        each.description, each.epilog = text, f"example:\n  dtagent {name}{example}"
        each.set_defaults(command=command)
    add = {name: each.add_argument for name, each in added.choices.items()}
    for name in ("run", "publish"):
        add[name]("--dry-run", action="store_true", help="print each patch, send and write nothing")
    add["scan"]("--dtb", type=Path, metavar="FILE", help="read a DTB file, not a live tree")
    text = "key: value lines (default), JSON with notes, or Node Feature Discovery's lines"
    add["scan"]("-o", dest="output", choices=("text", "json", "nfd"), default="text", help=text)
    text = "lines for people (default), or JSON"
    for name in ("status", "doctor"):
        add[name]("-o", dest="output", choices=("text", "json"), default="text", help=text)
    text = "leave out the service, and try the rest as this shell and not as the service"
    add["doctor"]("--no-unit", action="store_true", help=text)
    return top


def _checked(check: Check, text: str) -> str:
    """A flag's value by the check that the same setting has in a file."""
    try:
        return str(check(text))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
