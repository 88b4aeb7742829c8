"""Files are read in a process of their own.

The libraries that read other people's formats were made for good files: with a few bytes changed in a small file, HDF5 2.0 was seen to
crash, to print and to run for ever. What happens in the other process stays there: it has so much time and memory and no more, its output
goes nowhere, and its end, however it comes about, is one line here.

The reply is a line of JSON, {"error"} or {"shape", "size_m", "metres", "bare", "note"}, and then the values as float64 in C order.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import IO

import numpy as np

from .channels import Reading
from .specimen import SpecimenError

CPU_S = 3
WALL_S = 30.0  # only a file system that does not answer takes so long
MEMORY_BYTES = 1536 * 2**20  # of addresses: some copies of the largest map, and the libraries
LONGEST_REPLY = 65536  # of the line


def read_apart(reader: str, path: Path, channel: str | None) -> Reading:
    """What the `read` of the module `reader` makes of the file. Raises `SpecimenError` where it fails in any way."""
    with tempfile.TemporaryFile() as reply:
        status = start(reader, path, channel, reply.fileno())
        reply.seek(0)
        return _reading(path.name, reply, status)


def start(reader: str, path: Path, channel: str | None, reply: int) -> int | None:
    """Run `work` in another process; its exit status, `None` where it took too long."""
    request = json.dumps([reader, os.path.abspath(path), channel, reply, CPU_S, MEMORY_BYTES])
    # It must find what this process has found; one thread will do, and each costs addresses.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        return subprocess.run(
            [sys.executable, "-c", f"from {__name__} import main; main()", request],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            pass_fds=[reply],
            timeout=WALL_S,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return None


def _reading(name: str, reply: IO[bytes], status: int | None) -> Reading:
    line = reply.readline(LONGEST_REPLY)
    if status is None or status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise SpecimenError(f"{name}: reading it takes longer than {CPU_S} s of work; a file that is whole takes less")
    if status != 0 or not line.endswith(b"\n"):
        raise SpecimenError(f"{name}: damaged, the library that reads it crashes; a file that is whole is needed")
    answer = json.loads(line)
    if "error" in answer:
        raise SpecimenError(answer["error"])
    values = np.fromfile(reply, np.float64, math.prod(answer["shape"])).reshape(answer["shape"])
    size_m = None if answer["size_m"] is None else (answer["size_m"][0], answer["size_m"][1])
    return Reading(values, size_m, answer["metres"], answer["bare"], answer["note"])


def work(reader: str, path: Path, channel: str | None, reply: int) -> None:
    """Read the file and write the reply to the file descriptor `reply`. What a library warns of is no matter: its result is checked."""
    with open(reply, "wb", closefd=False) as file:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                found: Reading = importlib.import_module(reader).read(path, channel)
                values = np.ascontiguousarray(found.values, np.float64)
        except SpecimenError as error:
            answer: dict[str, object] = {"error": str(error)}
        except ImportError as error:
            answer = {"error": f"{path.name}: a library is missing ({str(error)[:120]}); install reflexarc with its extra 'sim'"}
        except MemoryError:
            answer = {"error": f"{path.name}: what it unpacks to does not fit into {MEMORY_BYTES // 2**20} MiB"}
        except Exception as error:  # each library has its own, and damage brings out any
            lines = str(error).splitlines() or [""]
            answer = {
                "error": f"{path.name}: damaged, or of an unknown kind: the library that reads it says {type(error).__name__} "
                f"({lines[0][:120]}); a file that is whole is needed"
            }
        else:
            answer = {"shape": values.shape, "size_m": found.size_m, "metres": found.metres, "bare": found.bare, "note": found.note}
        file.write(json.dumps(answer).encode() + b"\n")
        if "error" not in answer:
            file.write(values.data)


def main() -> None:
    reader, path, channel, reply, cpu_s, memory_bytes = json.loads(sys.argv[1])
    # The limit of time ends the process with SIGXCPU; a second later, were that not enough, with SIGKILL.
    for limit, value, grace in ((resource.RLIMIT_CPU, cpu_s, 1), (resource.RLIMIT_AS, memory_bytes, 0), (resource.RLIMIT_CORE, 0, 0)):
        with contextlib.suppress(ValueError, OSError):  # a tighter limit is in force already
            resource.setrlimit(limit, (value, value + grace))
    work(reader, Path(path), channel, reply)
