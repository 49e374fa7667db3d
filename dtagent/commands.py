"""What each command does, with the options that `cli.py` has read. A failure is a DtagentError.

Its docstring is what `--help` says of it. What a command does not need is not loaded: a scan is a
tenth of a second less.
"""

import json
import os
import queue
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from pathlib import Path

from dtagent.config import sources
from dtagent.config.settings import Settings, as_toml
from dtagent.errors import ConfigError, DtagentError, TreeError
from dtagent.events import Event, Happening, Stopped
from dtagent.host import log
from dtagent.host.status import Status, check_metrics, only_writer, read, runtime_directory
from dtagent.names import printable
from dtagent.overlays import configfs
from dtagent.publish.reconcile import Outcome
from dtagent.tree import devicetree, labels


def settings_of(options: Namespace, meanwhile: Callable[[], object] = lambda: None) -> Settings:
    """The settings with the command line's flags on top."""
    settings = sources.load(options.config, meanwhile)
    node, tree = settings.node, settings.devicetree
    kubeconfig, root = options.kubeconfig or node.kubeconfig, Path(options.root or tree.root)
    node = replace(node, name=options.node_name or node.name, kubeconfig=kubeconfig)
    tree = replace(tree, root=root, nodes=(*tree.nodes, *options.nodes))
    log.setup(settings.log_level)
    return replace(settings, node=node, devicetree=tree)


def _labels(settings: Settings, dtb: Path | None = None, near: bool = False) -> labels.Labels:
    tree = devicetree.Blob(dtb) if dtb else devicetree.LiveTree(settings.devicetree.root)
    concerned = not dtb and configfs.concern(settings)
    folder = configfs.find(settings.overlays.path) if concerned else None
    decide = partial(labels.decide, settings=settings, overlays=configfs.applied(folder), near=near)
    return devicetree.scan(tree, decide)


def scan(options: Namespace) -> None:
    """Print the labels that the devicetree gives, and stop."""
    found = _labels(settings_of(options), options.dtb, near=True)
    if options.output == "json":
        print(json.dumps({"labels": dict(found.labels), "notes": list(found.notes)}, indent=2))
        return
    separator = "=" if options.output == "nfd" else ": "
    for key, value in found.labels.items():
        print(f"{key}{separator}{value}")
    for note in found.notes:
        print(f"dtagent: {note}", file=sys.stderr)


def run(options: Namespace) -> None:
    """Keep the labels true until stopped (what the service runs)."""
    systemd, events = log.Systemd(), queue.SimpleQueue[Happening]()
    threading.excepthook = events.put  # what a thread dies of is the agent's to handle

    def stop(*_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        events.put(Event.STOP)  # should the exception be lost in somebody's `except:`
        raise Stopped

    signal.signal(signal.SIGHUP, lambda *_: events.put(Event.RELOAD))
    directory = None if options.dry_run else runtime_directory()
    with suppress(Stopped), only_writer(directory, create=True):
        try:
            settings = settings_of(options, lambda: import_module("dtagent.agent"))
        except ConfigError as error:
            systemd.status(f"wrong configuration: {error}")
            raise
        from dtagent.agent import Agent
        from dtagent.publish.factory import publisher

        chosen, report = partial(publisher, dry_run=options.dry_run), Status(systemd, directory)
        agent = Agent(settings, partial(settings_of, options), chosen, report, events)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        agent.run()


def publish(options: Namespace) -> None:
    """Scan, bring the Node up to date once, and stop."""
    from dtagent.publish.factory import publisher

    settings = settings_of(options)
    found = _labels(settings)
    lock = only_writer(None if options.dry_run else runtime_directory(), create=False)
    with lock, closing(publisher(settings, dry_run=options.dry_run)) as chosen:
        _report(chosen.publish(found.labels))


def status(options: Namespace) -> None:
    """Say what the running agent last did; fails while not all is well."""
    last = read(runtime_directory())
    if options.output == "json":
        known = {"healthy": last.healthy, "status": last.status, **asdict(last)}
        print(json.dumps(known, indent=2))
    else:
        print(*map(printable, last.lines()), sep="\n")
    if not last.healthy:
        raise DtagentError(last.status)


def doctor(options: Namespace) -> None:
    """Try each thing that the agent needs, and name the remedies."""
    from dtagent.doctor.examine import examine

    given = options.config, options.kubeconfig, options.node_name, options.root, options.nodes
    inputs = {"load": partial(settings_of, options), "scan": _labels}
    checks = examine(inputs, unit=not options.no_unit, given=any(given))
    if options.output == "json":
        print(json.dumps({"checks": [asdict(check) for check in checks]}, indent=2))
    else:
        print(*checks, sep="\n")
    if failed := [check.name for check in checks if check.status == "failure"]:
        raise DtagentError(f"not well: {', '.join(failed)}")


def clear(options: Namespace) -> None:
    """Take our labels off the Node."""
    from dtagent.publish.nfd import NfdPublisher
    from dtagent.publish.node import NodePublisher

    settings = settings_of(options)
    try:
        wanted = _labels(settings).labels
    except TreeError:
        wanted = {}  # they only help where the Node's managedFields were reset
    with only_writer(runtime_directory(), create=False):
        # By the way that is set, and by the one that was.
        if settings.publish == "nfd" or os.path.lexists(settings.nfd.features_file):
            _report(NfdPublisher(settings).clear())
        with closing(NodePublisher(settings.node)) as publisher:
            _report(publisher.clear(wanted))


def _report(done: Outcome) -> None:
    print(printable(f"{done.place}: {', '.join(done.changes) or 'nothing to change'}"))


def check_config(options: Namespace) -> None:
    """Validate the configuration and print what is in effect."""
    settings = settings_of(options)
    for file in sources.files(options.config):
        print(printable(f"# from {file}"))
    print(as_toml(settings))
    check_metrics(settings.metrics.textfile)
