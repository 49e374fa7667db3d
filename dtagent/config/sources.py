"""Where settings are written: a TOML file, its drop-ins, the environment, flags over all of them.

Where nothing is written, which is most hosts, the defaults hold. Else a process that ends judges it
(`judge.py`): the one that runs for years would keep what pydantic takes, a quarter of its memory.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dtagent.config.settings import Settings
from dtagent.errors import ConfigError
from dtagent.names import one_line

DEFAULT_FILE = Path("/etc/dtagent.toml")
PREFIX = "DTAGENT_"
# bytes; rules for all 256 labels take a third, and tomllib's time grows with the square of a key
FILE_MAX = 64 << 10
JUDGE_TIME = 60  # seconds, by its own alarm(2); a board that starts up takes a few
# More than blank lines and comments, such as the file that is shipped has.
_SETS_SOMETHING = re.compile(r"^[ \t\r]*[^ \t\r\n#]", re.MULTILINE)


def load(file: Path | None = None, meanwhile: Callable[[], object] = lambda: None) -> Settings:
    """What `file` (default `/etc/dtagent.toml`), its drop-ins and the environment set.

    `meanwhile` is called while another process judges: a board has more than one processor.
    Raises ConfigError, whose message names the place, the key and what was expected there.
    """
    paths = files(file)
    if not (variables() or any(_SETS_SOMETHING.search(read(path)) for path in paths)):
        return Settings()
    import pickle

    begin = f"import signal, sys; signal.alarm({JUDGE_TIME}); sys.path = {sys.path}"
    program = f"{begin}; from dtagent.config import judge; judge.main()"
    command = [sys.executable, "-I", "-W", "ignore", "-c", program, *map(str, paths)]
    answer = None
    try:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as child:
            try:
                meanwhile()
                output, _ = child.communicate()
            finally:  # a stop may come while we wait
                child.kill()
    except OSError as error:
        raise ConfigError(f"configuration: cannot be judged: {error.strerror}") from error
    # An interpreter that warns of something of its own spoils it, and loads() may raise anything.
    with suppress(Exception):
        answer = pickle.loads(output)  # noqa: S301 - written by our own program
    if isinstance(answer, Settings):
        return answer
    if isinstance(answer, ConfigError):
        raise answer
    # What is left is the end of a traceback.
    reason = output.decode(errors="replace").strip().rpartition("\n")[2] or "no answer"
    if child.returncode < 0:
        reason = f"killed by signal {-child.returncode}: no memory for it, or over {JUDGE_TIME} s"
    raise ConfigError(one_line(f"configuration: cannot be judged: {reason}"))


def files(file: Path | None = None) -> list[Path]:
    """The files to read, in order; only the default file itself may be missing."""
    base = file or DEFAULT_FILE
    dropins = sorted(Path(f"{base}.d").glob("*.toml"))
    return [base, *dropins] if file or os.path.lexists(base) else dropins


def variables() -> list[str]:
    """The names of the environment's variables that are ours."""
    return [name for name in os.environ if name.upper().startswith(PREFIX)]


def read(path: Path) -> str:
    """A configuration file's text; ConfigError if there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_MAX + 1)
        if len(data) > FILE_MAX:
            raise ConfigError(f"{path}: larger than {FILE_MAX} bytes")
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
