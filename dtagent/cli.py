"""The commands, and the only place where an error becomes an exit status.

0 fine, 1 it could not be done, 2 wrong usage or configuration.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dtagent import __version__
from dtagent.config import sources
from dtagent.config.settings import SELECTOR, TEXT, Check, Settings, as_toml
from dtagent.errors import ConfigError, DtagentError, TreeError
from dtagent.host import log
from dtagent.names import printable

if TYPE_CHECKING:  # what a command does not need is not loaded: a scan is a tenth of a second less
    from dtagent.publish.publisher import Outcome
    from dtagent.tree.labels import Labels


logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(argv)
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


def _parser() -> argparse.ArgumentParser:
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

    parser = argparse.ArgumentParser(
        prog="dtagent", description="Keep this host's Kubernetes Node labelled by its devicetree."
    )
    parser.add_argument("--version", action="version", version=f"dtagent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("run", _run, "keep the labels true until stopped (what the service runs)"),
        ("scan", _scan, "print the labels that the devicetree gives, and stop"),
        ("publish", _publish, "scan, bring the Node up to date once, and stop"),
        ("check-config", _check_config, "validate the configuration and print what is in effect"),
        ("status", _status, "say what the running agent last did; fails while not all is well"),
        ("doctor", _doctor, "try each thing that the agent needs, and name the remedies"),
        ("clear", _clear, "take our labels off the Node"),
    ):
        title = f"{text[0].upper()}{text[1:]}."
        command = commands.add_parser(name, parents=[common], help=text, description=title)
        command.set_defaults(command=run)
        if name in ("run", "publish"):
            text = "print each patch, send and write nothing"
            command.add_argument("--dry-run", action="store_true", help=text)
        if name == "doctor":
            text = "leave out the service, and try the rest as this shell and not as the service"
            command.add_argument("--no-unit", action="store_true", help=text)
        if name == "scan":
            text = "read a DTB file, not a live tree"
            command.add_argument("--dtb", type=Path, metavar="FILE", help=text)
            text = "key: value lines (default), JSON with notes, or Node Feature Discovery's lines"
            kinds = ("text", "json", "nfd")
            command.add_argument("-o", dest="output", choices=kinds, default="text", help=text)
        if name in ("status", "doctor"):
            text = "lines for people (default), or JSON"
            command.add_argument("-o", dest="output", choices=kinds[:2], default="text", help=text)
    return parser


def _checked(check: Check) -> Callable[[str], str]:
    """A flag's value by the check that the same setting has in a file."""

    def value(text: str) -> str:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return value


def _settings(
    options: argparse.Namespace, meanwhile: Callable[[], None] = lambda: None
) -> Settings:
    """The settings with the command line's flags on top."""
    settings = sources.load(options.config, meanwhile)
    node, tree = settings.node, settings.devicetree
    kubeconfig, root = options.kubeconfig or node.kubeconfig, options.root or tree.root
    node = replace(node, name=options.node_name or node.name, kubeconfig=kubeconfig)
    tree = replace(tree, root=root, nodes=(*tree.nodes, *options.nodes))
    log.setup(settings.log_level)
    return replace(settings, node=node, devicetree=tree)


def _labels(settings: Settings, dtb: Path | None = None) -> Labels:
    from dtagent.overlays import configfs
    from dtagent.tree import devicetree, labels

    tree: devicetree.Tree = devicetree.LiveTree(settings.devicetree.root)
    applied: frozenset[str] = frozenset()
    if dtb is not None:
        from dtagent.tree.blob import Blob

        tree = Blob(dtb)
    elif configfs.concern(settings):
        applied = configfs.applied(configfs.find(settings.overlays.path))
    return devicetree.scan(tree, partial(labels.decide, settings=settings, overlays=applied))


def _scan(options: argparse.Namespace) -> None:
    found = _labels(_settings(options), options.dtb)
    if options.output == "json":
        print(json.dumps({"labels": dict(found.labels), "notes": list(found.notes)}, indent=2))
        return
    separator = "=" if options.output == "nfd" else ": "
    for key, value in found.labels.items():
        print(f"{key}{separator}{value}")
    for note in found.notes:
        print(f"dtagent: {note}", file=sys.stderr)


def _import_agent() -> None:
    importlib.import_module("dtagent.agent")
    importlib.import_module("dtagent.publish.factory")


def _run(options: argparse.Namespace) -> None:
    from dtagent.events import Event, Happening, Stopped
    from dtagent.host.status import Status, only_writer, runtime_directory
    from dtagent.host.systemd import Systemd

    events: queue.SimpleQueue[Happening] = queue.SimpleQueue()
    threading.excepthook = events.put  # what a thread dies of is the agent's to handle

    def stop(*_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        events.put(Event.STOP)  # should the exception be lost in somebody's `except:`
        raise Stopped

    signal.signal(signal.SIGHUP, lambda *_: events.put(Event.RELOAD))
    directory = None if options.dry_run else runtime_directory()
    lock = only_writer(directory, create=True) if directory else nullcontext()
    with closing(Systemd()) as systemd, suppress(Stopped), lock:
        try:
            settings = _settings(options, meanwhile=_import_agent)
        except ConfigError as error:
            systemd.status(f"wrong configuration: {error}")
            raise
        from dtagent.agent import Agent
        from dtagent.publish.factory import publisher

        chosen, status = partial(publisher, dry_run=options.dry_run), Status(systemd, directory)
        agent = Agent(settings, partial(_settings, options), chosen, status, events)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        agent.run()


def _publish(options: argparse.Namespace) -> None:
    from dtagent.host.status import only_writer, runtime_directory
    from dtagent.publish.factory import publisher

    settings = _settings(options)
    found = _labels(settings)
    writer = nullcontext() if options.dry_run else only_writer(runtime_directory(), create=False)
    with writer, closing(publisher(settings, dry_run=options.dry_run)) as chosen:
        _report(chosen.publish(found.labels))


def _status(options: argparse.Namespace) -> None:
    from dtagent.host import status

    last = status.read(status.runtime_directory())
    for line in [last.as_json()] if options.output == "json" else map(printable, last.lines()):
        print(line)
    if not last.healthy:
        raise DtagentError(last.status)


def _doctor(options: argparse.Namespace) -> None:
    from dtagent.doctor.unit import examine

    checks = examine(partial(_settings, options), _labels, unit=not options.no_unit)
    if options.output == "json":
        print(json.dumps({"checks": [asdict(check) for check in checks]}, indent=2))
    else:
        print(*checks, sep="\n")
    if failed := [check.name for check in checks if check.status == "failure"]:
        raise DtagentError(f"not well: {', '.join(failed)}")


def _clear(options: argparse.Namespace) -> None:
    from dtagent.host.status import only_writer, runtime_directory
    from dtagent.publish.nfd import NfdPublisher
    from dtagent.publish.node import NodePublisher

    settings = _settings(options)
    try:
        labels = _labels(settings).labels
    except TreeError:
        labels = {}  # they only help where the Node's managedFields were reset
    with only_writer(runtime_directory(), create=False):
        if settings.publish == "nfd" or os.path.lexists(settings.nfd.features_file):
            _report(NfdPublisher(settings).clear())
        with closing(NodePublisher(settings.node)) as publisher:
            _report(publisher.clear(labels))


def _report(outcome: Outcome) -> None:
    _print(f"{outcome.place}: {', '.join(outcome.changes) or 'nothing to change'}")


def _print(line: str) -> None:
    """One line, which may have a file's, a folder's or a Node's name in it, on standard output."""
    print(printable(line))


def _check_config(options: argparse.Namespace) -> None:
    settings = _settings(options)
    for file in sources.files(options.config):
        _print(f"# from {file}")
    print(as_toml(settings))
    if textfile := settings.metrics.textfile:
        from dtagent.host import metrics

        metrics.check(textfile)
