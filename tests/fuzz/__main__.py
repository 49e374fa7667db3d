"""Fuzz one reader under atheris: `python -m tests.fuzz TARGET [CORPUS] [libFuzzer's options]`.

Not part of `make test`: atheris (PyPI) has wheels for x86_64 alone. The corpus begins with valid
inputs; what libFuzzer finds besides stays in CORPUS, where one is named, and what fails a target
is left as `crash-…` in the folder it runs in (libFuzzer's `-artifact_prefix` names another).
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.dtb import dtb
from tests.fuzz import inputs

atheris: Any = importlib.import_module("atheris")
with atheris.instrument_imports(include=["dtagent", "yaml", "tomllib"]):
    from dtagent.cluster import credentials
    from dtagent.cluster.credentials import Files
    from dtagent.config import judge
    from dtagent.config.settings import DevicetreeTable, Rule, Settings, as_toml
    from dtagent.errors import ConfigError, CredentialsError, TreeError
    from dtagent.names import Selector
    from dtagent.tree.devicetree import Blob, scan
    from dtagent.tree.labels import decide

SETTINGS = Settings(
    devicetree=DevicetreeTable(nodes=("/", "gpu", "compatible:*", "/*/*")),
    rules=(Rule(label="e.org/model", node="compatible:*", property="model"),),
)


def toml(file: Path) -> None:
    try:
        as_toml(judge.judge([file])).encode()
    except ConfigError as error:
        assert all(line.isprintable() for line in str(error).split("\n"))


def blob(file: Path) -> None:
    try:
        found = scan(Blob(file), partial(decide, settings=SETTINGS))
    except TreeError as error:
        assert str(error).isprintable()
    else:
        assert all(note.isascii() and note.isprintable() for note in found.notes)


def selector(file: Path) -> None:
    text, _, other = file.read_bytes().decode("utf-8", "surrogateescape").partition("\n")
    try:
        Selector.parse(text).pattern.match(other)
    except ValueError as error:
        assert str(error).isprintable()


def kubeconfig(file: Path) -> None:
    try:
        credentials.load(file, Files())
    except CredentialsError as error:
        assert str(error)


SEEDS: dict[Callable[[Path], None], list[bytes]] = {
    toml: [inputs.SHIPPED.encode(), inputs.TOML.encode()],
    blob: [dtb({"compatible": b"a,b\0", "gpu@1": {"status": b"okay\0"}}), inputs.NANO],
    selector: [b"/soc/i2c@*\n/soc/i2c@1", b"compatible:a,*\na,b", b"gpu\ngpu@1"],
    kubeconfig: [yaml.safe_dump(inputs.KUBECONFIG).encode()],
}
"""What is valid, for each target."""


def main() -> None:
    targets = {target.__name__: (target, valid) for target, valid in SEEDS.items()}
    if len(sys.argv) < 2 or sys.argv[1] not in targets:
        sys.exit(
            f"usage: python -m tests.fuzz {{{','.join(targets)}}} [CORPUS] [-max_total_time=60]"
        )
    target, valid = targets[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory() as place:
        corpus = Path(place) / "corpus"
        corpus.mkdir()
        for number, content in enumerate(valid):
            (corpus / f"seed{number}").write_bytes(content)
        file = Path(place) / "input"

        def one(content: bytes) -> None:
            file.write_bytes(content)
            target(file)

        atheris.Setup([*sys.argv, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
