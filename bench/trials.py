"""What each way to carry less saves, tried by itself: `python -m bench.trials [WORD ...]`.

Each row is an agent of its own, settled, with one thing changed; with words, only the rows that
have one of them in their name. Two agents of the same row differ by 0.1 MB.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.measure import Usage, usage
from bench.report import section, table
from bench.site import SETTLED, Site, site

RUN = "\nimport sys\nfrom dtagent.cli import main\nsys.exit(main())"
TRIM = "import ctypes; ctypes.CDLL(None).malloc_trim(0)"
# When READY=1 has been said, from the thread that says it.
AFTER_READY = """
from dtagent.host.log import Systemd
ready = Systemd.ready
def then(self):
    Systemd.ready = ready  # only the first time is another
    ready(self)
    {0}
Systemd.ready = then
"""
# A module that nothing needs while all is well, as if it were imported where it is used.
WITHOUT = """
import sys, types
class Absent(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {{}})
for name in {0!r}:
    sys.modules[name] = Absent(name)
"""
# As if it were not installed, which whoever imports it can bear.
NOT_INSTALLED = "import sys; sys.modules.update(dict.fromkeys({0!r}))"


@dataclass(frozen=True)
class Trial:
    """One change: of the environment, of Python's flags, or by code that runs before the agent."""

    name: str
    costs: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    flags: Sequence[str] = ()
    code: str = ""
    compiled: bool = False
    """by byte-code of its own, which a first run makes and a second one finds"""

    @property
    def program(self) -> tuple[str, ...]:
        return (*self.flags, *(("-c", self.code + RUN) if self.code else ("-m", "dtagent")))


TRIALS = (
    Trial("as it is"),
    Trial("as it is, started by `-c`", code="pass"),
    Trial("`MALLOC_ARENA_MAX=1`", "one word in the unit", {"MALLOC_ARENA_MAX": "1"}),
    Trial("`MALLOC_ARENA_MAX=2`", "one word in the unit", {"MALLOC_ARENA_MAX": "2"}),
    Trial(
        "`MALLOC_TRIM_THRESHOLD_=65536`",
        "one word in the unit",
        {"MALLOC_TRIM_THRESHOLD_": "65536"},
    ),
    Trial("`MALLOC_TRIM_THRESHOLD_=0`", "one word; a brk a free", {"MALLOC_TRIM_THRESHOLD_": "0"}),
    Trial(
        "`MALLOC_MMAP_THRESHOLD_=32768`",
        "one word; mmap for each buffer",
        {"MALLOC_MMAP_THRESHOLD_": "32768"},
    ),
    Trial("`MALLOC_TOP_PAD_=0`", "one word in the unit", {"MALLOC_TOP_PAD_": "0"}),
    Trial("`PYTHONMALLOC=malloc`", "slower; one word", {"PYTHONMALLOC": "malloc"}),
    Trial(
        "`PYTHONMALLOC=malloc`, one arena, trimmed",
        "slower",
        {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"},
    ),
    Trial("`malloc_trim` after READY", "ctypes on the libc", code=AFTER_READY.format(TRIM)),
    Trial(
        "`gc.collect` after READY", "one line", code=AFTER_READY.format("import gc; gc.collect()")
    ),
    Trial(
        "`gc.collect`, then `malloc_trim`, after READY",
        "two lines",
        code=AFTER_READY.format("import gc; gc.collect(); " + TRIM),
    ),
    Trial(
        "`gc.freeze` after READY",
        "one line",
        code=AFTER_READY.format("import gc; gc.collect(); gc.freeze()"),
    ),
    Trial(
        "`gc.disable` during imports",
        "two lines",
        code="import gc; gc.disable()" + AFTER_READY.format("gc.enable()"),
    ),
    Trial("`-O`", "no asserts", flags=("-O",), compiled=True),
    Trial("`-OO`", "no docstrings", flags=("-OO",), compiled=True),
    Trial(
        "`-X no_debug_ranges`",
        "no carets in a traceback, which no user sees",
        flags=("-X", "no_debug_ranges"),
        compiled=True,
    ),
    Trial("`-OO -X no_debug_ranges`", "", flags=("-OO", "-X", "no_debug_ranges"), compiled=True),
    Trial("`-X frozen_modules=on`", "", flags=("-X", "frozen_modules=on")),
    Trial("`-X frozen_modules=off`", "", flags=("-X", "frozen_modules=off")),
    Trial(
        "thread stacks of 256 KiB",
        "one line; a deep traceback may not fit",
        code="import threading; threading.stack_size(256 << 10)",
    ),
    Trial(
        "no modules that watchdog only imports",
        "patches a library",
        code=WITHOUT.format(
            ["watchdog.utils.dirsnapshot", "watchdog.utils.patterns", "watchdog.tricks"]
        ),
    ),
    Trial(
        "without `random`",
        "jitter by other means",
        code=WITHOUT.format(["random"])
        + "\nsys.modules['random'].uniform = lambda low, high: (low + high) / 2",
    ),
    Trial(
        "without `ipaddress`",
        "imported where a proxy is asked for",
        code=WITHOUT.format(["ipaddress"])
        + "\nloopback = types.SimpleNamespace(is_loopback=True)"
        + "\nsys.modules['ipaddress'].ip_address = lambda host: loopback",
    ),
    Trial("without `subprocess`", "", code=WITHOUT.format(["subprocess"])),
    Trial("without `uuid`", "", code=WITHOUT.format(["uuid"])),
    Trial(
        "yaml by libyaml",
        "faster to parse, another library to load",
        code="import yaml; yaml.SafeLoader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)",
    ),
    Trial(
        "yaml without libyaml's module",
        "hides a module",
        code=NOT_INSTALLED.format(["yaml._yaml", "yaml.cyaml"]),
    ),
    Trial(
        "without `bz2` and `lzma`",
        "hides two modules",
        code=NOT_INSTALLED.format(["bz2", "lzma", "_bz2", "_lzma"]),
    ),
    Trial(
        "without `urllib.request`",
        "proxies by hand",
        code=WITHOUT.format(["urllib.request"])
        + "\nabsent = sys.modules['urllib.request']"
        + "\nabsent.getproxies_environment = absent.getproxies = dict",
    ),
)


def main() -> None:
    words = sys.argv[1:]
    chosen = [t for t in TRIALS if t is TRIALS[0] or not words or any(w in t.name for w in words)]
    rows = []
    with site() as place:
        base: Usage | None = None
        for trial in chosen:
            try:
                found = settled(place, trial)
            except AssertionError as error:
                print(trial.name, "FAILED", str(error)[-400:], flush=True)
                continue
            base = base or found
            rows.append(
                (
                    trial.name,
                    f"{found.resident:.1f}",
                    f"{found.anonymous:.1f}",
                    f"{found.resident - base.resident:+.1f}",
                    f"{found.anonymous - base.anonymous:+.1f}",
                    trial.costs,
                )
            )
            print(*rows[-1], sep=" | ", flush=True)
    if not words:
        head = ("change", "MB resident", "anonymous", "change", "of anonymous", "costs")
        section("trials", table(head, rows))


def settled(place: Site, trial: Trial) -> Usage:
    environ = dict(trial.environ)
    if trial.compiled:
        environ["PYTHONPYCACHEPREFIX"] = str(place.folder / trial.name.strip("`"))
        with place.agent(trial.program, **environ):
            pass
    with place.agent(trial.program, **environ) as agent:
        time.sleep(SETTLED)
        return usage(agent.popen.pid)


if __name__ == "__main__":
    main()
