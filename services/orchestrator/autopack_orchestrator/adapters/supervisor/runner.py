"""One supervisor per execution: it owns the process tree of one command, whatever happens to the orchestrator.

Run as ``python -I -S runner.py RUN_DIR``. It reads ``RUN_DIR/spec.json`` once (and deletes it: it holds the
environment, hence secrets), runs the command, and leaves ``RUN_DIR/status.json`` behind. A directory is used once.

Files: ``lock`` (flock held while the supervisor lives), ``pid`` (who works here), ``control.sock`` (mode 0600),
``status.json`` (the result, written atomically, then never changed), and the output file that the specification
names, with ``<output>.tail`` beside it when it was cut.

Control protocol: one line per request (``status``, ``cancel``, ``detach``), one JSON line per answer, and one as
greeting. An open connection is the lease: without any for ``fence_grace_s`` the tree is killed (reason FENCED).
Standard input may be the first connection, so that there is no moment in which a new supervisor has none.

In a sandbox (``sandbox``: the words that start bubblewrap) the command is the only child of a small shell, which is the
only child of the first process of a pid namespace. When that process ends, the kernel ends everything in the namespace,
so the shell stays until the supervisor has let what the command left behind end in peace; then it passes the exit code
on. If the supervisor is killed, the whole namespace dies with it.

Exit codes: 0 done, 65 bad specification, 73 directory used before, 75 another supervisor is at work here.

One file and the standard library only, because it runs in isolated mode, outside every package. It avoids ``socket``,
``signal``, ``json`` and ``ctypes``: they import ``enum`` and ``re`` and others, which cost more CPU (half of the 40
ms allowed per run) than everything this program does. The C modules beneath them offer what is needed here.
"""

from __future__ import annotations

import _ctypes
import _json
import _signal  # type: ignore[import-not-found]  # typeshed describes only `signal`
import _socket
import errno
import fcntl
import os
import resource
import select
import stat
import sys
import time

EX_DATAERR, EX_CANTCREAT, EX_TEMPFAIL = 65, 73, 75  # sysexits.h
RUN_MARKER = "AUTOPACK_RUN_DIR"  # the run's directory: the same for all executions of a run
EXEC_MARKER = "AUTOPACK_EXEC_DIR"  # this execution's directory
MAX_SPEC_BYTES = 16 << 20  # an environment and arguments; the kernel itself refuses more than 2 MiB of them by default
CHUNK = 1 << 16  # the default capacity of a pipe: a larger read never returns more
CHUNKS_PER_TURN = 64  # after 4 MiB of output the control socket and the clock get their turn
TAIL_BYTES = 64 << 10  # the end of a cut output usually holds the error
LEFTOVER_SETTLE_S = (
    0.2  # `tee` behind a process substitution, test workers: most end by themselves right after their parent
)
FENCED_TERM_S = 0.5  # instead of the full grace: somebody else may begin the next attempt two seconds after the fence
KILL_LIMIT_S = (
    10.0  # processes that survive SIGKILL this long hang in the kernel or belong to another user: report, do not wait
)
KILL_PAUSE_S = 0.02  # between two rounds of killing
SANDBOX_PAUSE_S = 0.05  # between two looks at what is left in a sandbox: no signal tells, and a look costs CPU
CGROUP_PAUSE_S = 0.02  # a control group counts ended processes for a moment longer than their parent
CGROUP_TRIES = 25
MIN_BEGINNING = 8  # bytes of a secret that was cut off by the end of the output; fewer are no secret yet
MAX_FIRST_WORDS = 500  # of the output: bubblewrap's message, if the sandbox could not be made
CPU_GRACE_S = 5  # between SIGXCPU, at which a program may save its work, and SIGKILL
REPORT_FD, RELEASE_FD = 3, 4  # of the shell in the sandbox; the command does not inherit them
# It reports that the sandbox stands, runs the command, and ends with its exit code: at once if nothing but itself and
# the namespace's first process is left, else when it is released. SIGTERM is for the command, which gets it too.
SANDBOX_SHELL = (
    'echo started >&3; trap : TERM; "$@" 3>&- 4<&-; code=$?; set -- /proc/[0-9]*; '
    '[ $# -le 2 ] || { echo "$code" >&3; read -r _ <&4; }; exit "$code"'
)
ENV = "/usr/bin/env"  # hands variables over whose names a shell drops, and runs no builtin instead of a program
MAX_CONNECTIONS = 16
LONGEST_POLL_S = 86400.0  # poll() takes milliseconds in 31 bits
MAX_LINE = 256  # requests are single words
RTLD_NOW = 2  # dlfcn.h
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36  # linux/prctl.h
Json = dict[str, object]
TYPE_CHECKING = False  # importing `typing` for it costs 6 ms
if TYPE_CHECKING:
    from collections.abc import Callable

    Prctl = Callable[[int, int], int]


# ---- JSON without `re` ----


class _ScannerOptions:
    """What the C scanner asks of its context: the defaults of ``json.JSONDecoder``."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, float

    def __init__(self) -> None:
        self.memo: Json = {}


def parse_json(text: str) -> Json:
    """The object in ``text``; raises ValueError on anything else."""
    try:
        value, end = _json.make_scanner(_ScannerOptions())(text.strip(), 0)  # type: ignore[arg-type]  # typeshed errs
    except StopIteration as stop:
        raise ValueError("not JSON") from stop
    if not isinstance(value, dict) or end != len(text.strip()):
        raise ValueError("not one JSON object")
    return value


def format_json(record: Json) -> str:
    """One line of JSON; values are scalars or lists of strings."""
    return (
        "{" + ", ".join(f"{_json.encode_basestring_ascii(key)}: {_value(item)}" for key, item in record.items()) + "}"
    )


def _value(item: object) -> str:
    if item is None:
        return "null"
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, str):
        return str(_json.encode_basestring_ascii(item))
    if isinstance(item, list):
        return "[" + ", ".join(_value(part) for part in item) + "]"
    return repr(item)


# ---- processes, through /proc ----


def process_stat(pid: int) -> tuple[int, int] | None:
    """(parent, start time in clock ticks after boot) of a live process; None when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before ")" may hold anything
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else (int(fields[1]), int(fields[19]))


def signal_process(pid: int, started: int, number: int) -> bool:
    """Send a signal to exactly this process: a pid that was reused meanwhile is left alone."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        now = process_stat(pid)
        if now is None or now[1] != started:
            return False
        _signal.pidfd_send_signal(handle, number)
        return True
    except OSError:  # ended just now, or not ours to signal
        return False
    finally:
        os.close(handle)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def process_table() -> dict[int, tuple[int, int]]:
    """All live processes: pid -> (parent, start time)."""
    return {pid: info for pid in _pids() if (info := process_stat(pid)) is not None}


def descendants(root: int, table: dict[int, tuple[int, int]] | None = None) -> dict[int, int]:
    """All live processes below ``root``: pid -> start time."""
    table = process_table() if table is None else table
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found: dict[int, int] = {}
    queue = children.get(root, [])
    while queue:
        pid = queue.pop()
        found[pid] = table[pid][1]
        queue.extend(children.get(pid, []))
    return found


def marked(directory: str) -> dict[int, int]:
    """All processes whose environment names ``directory`` as their run or execution: pid -> start time.

    Being able to read the environment is the permission check. A process of another user that carries our mark is one
    that the command started with another identity.
    """
    wanted = {f"{name}={directory}".encode(errors="surrogateescape") for name in (RUN_MARKER, EXEC_MARKER)}
    found: dict[int, int] = {}
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                environment = file.readall()
        except OSError:
            continue
        if not wanted.isdisjoint(environment.split(b"\0")) and (info := process_stat(pid)) is not None:
            found[pid] = info[1]
    return found


def sweep(directory: str, limit_s: float = KILL_LIMIT_S) -> int:
    """Kill every process marked with ``directory`` until none is left; returns how many. Blocks up to ``limit_s``."""
    killed: set[tuple[int, int]] = set()
    deadline = time.monotonic() + limit_s
    while victims := marked(directory):
        freeze_and_kill(victims)
        killed.update(victims.items())
        if time.monotonic() > deadline:
            break
        time.sleep(KILL_PAUSE_S)
    return len(killed)


def freeze_and_kill(victims: dict[int, int]) -> None:
    """SIGSTOP first, so that none of them can fork away from the SIGKILL."""
    for number in (_signal.SIGSTOP, _signal.SIGKILL):
        for pid, started in victims.items():
            signal_process(pid, started, number)


# ---- output ----


class Mask:
    """Secrets in a stream of bytes, each replaced by as many asterisks, wherever the stream was cut into chunks.

    The longest secret that begins somewhere is the one that counts. What may be the beginning of a secret is held back
    until the next bytes tell: at most as many bytes as all secrets have.
    """

    def __init__(self, secrets: list[bytes]) -> None:
        self.secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self.held = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may be shown now of what was held back and these next bytes."""
        if not self.secrets:
            return chunk
        data, begun = self.held + chunk, 0
        for secret in self.secrets:
            begun = max(begun, _begun(data, secret))
        spans, cut = self._spans(data), len(data) - begun
        for start, end in reversed(spans):
            if start < cut < end:  # a secret that ends in what may be the beginning of another: both are held
                cut = start
        self.held = data[cut:]
        return _masked(data, spans, cut)

    def rest(self) -> bytes:
        """What was held back, at the end of the stream; the beginning of a secret that was cut off is masked too."""
        data, self.held = self.held, b""
        spans = self._spans(data)
        begun = max((_begun(data, secret) for secret in self.secrets), default=0)
        if begun >= MIN_BEGINNING:
            spans.append((len(data) - begun, len(data)))
        return _masked(data, spans, len(data))

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where secrets stand, in order of their beginnings."""
        found = []
        for secret in self.secrets:
            start = data.find(secret)
            while start >= 0:
                found.append((start, start + len(secret)))
                start = data.find(secret, start + len(secret))
        return sorted(found)


def _begun(data: bytes, secret: bytes) -> int:
    """How many bytes at the end of ``data`` are the beginning of ``secret``, and not all of it."""
    start = max(0, len(data) - len(secret) + 1)
    while (start := data.find(secret[:1], start)) >= 0:
        if secret.startswith(data[start:]):
            return len(data) - start
        start += 1
    return 0


def _masked(data: bytes, spans: list[tuple[int, int]], cut: int) -> bytes:
    if not spans:
        return data[:cut]
    result = bytearray(data)
    for start, end in spans:
        result[start:end] = b"*" * (end - start)
    return bytes(result[:cut])


class Output:
    """The output file: its head up to a cap, a line that says so, and the last 64 KiB in a second file.

    Secrets never reach either: whoever may read them, here or where they are copied to, need not know what to hide.
    """

    def __init__(self, path: str, cap: int, secrets: list[bytes]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self.path, self.cap, self.first = path, cap, b""
        self.mask = Mask(secrets)
        self.file = os.open(path, flags, 0o600)
        self.total = self.kept = 0
        self.truncated = False
        self.error = ""
        self.tail = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Never raises: a full disk must not end the command's supervision."""
        self._keep(self.mask.feed(chunk))

    def _keep(self, chunk: bytes) -> None:
        if self.total < MAX_FIRST_WORDS:
            self.first += chunk[: MAX_FIRST_WORDS - self.total]
        self.total += len(chunk)
        room = self.cap - self.kept
        if room > 0 and not self.truncated:
            self.kept += len(chunk[:room])
            self._write(chunk[:room])
            chunk = chunk[room:]
        if not chunk:
            return
        if not self.truncated:
            self.truncated = True
            self._write(b"\n[output truncated after %d bytes]\n" % self.kept)
        self.tail += chunk
        if len(self.tail) > 4 * TAIL_BYTES:
            del self.tail[:-TAIL_BYTES]

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self.file, view) :]
        except OSError as error:
            self.error, self.truncated = f"cannot write output: {error.strerror}", True

    def finish(self) -> None:
        self._keep(self.mask.rest())
        os.close(self.file)
        if not self.truncated:
            return
        try:
            write_atomically(self.path + ".tail", bytes(self.tail[-TAIL_BYTES:]))
        except OSError as error:
            self.error = self.error or f"cannot write the tail of the output: {error.strerror}"


def write_atomically(path: str, data: bytes) -> None:
    """Replace ``path``.

    No fsync: after a power failure nothing of the run is alive, and a missing or torn result says so.
    """
    temporary = f"{path}.{os.getpid()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)
    os.rename(temporary, path)


# ---- the command ----


class Spec:
    """What to run: ``spec.json`` with its types checked. Raises KeyError, TypeError or ValueError."""

    def __init__(self, raw: Json) -> None:
        self.argv = [_text(word) for word in _items(raw["argv"])]
        self.sandbox = [_text(word) for word in _items(raw["sandbox"])]
        self.idle_s = float(_text(raw["idle_timeout_s"]))
        self.cwd, self.output, self.marker = _text(raw["cwd"]), _text(raw["output"]), _text(raw["marker"])
        environment, limits, groups = raw["env"], raw["rlimits"], raw["cgroups"]
        if not self.argv or not all(isinstance(item, dict) for item in (environment, limits, groups)):
            raise TypeError("argv must not be empty; env, rlimits and cgroups are objects")
        assert isinstance(environment, dict)
        assert isinstance(limits, dict)
        assert isinstance(groups, dict)
        self.secrets = [os.fsencode(_text(value)) for value in _items(raw["secrets"])]
        self.env = {_text(name): _text(value) for name, value in environment.items()}
        self.rlimits = {_text(name): int(value) for name, value in limits.items()}
        self.cgroups = {
            _text(path): {_text(name): _text(value) for name, value in files.items()} for path, files in groups.items()
        }
        self.timeout_s, self.term_grace_s, self.fence_grace_s = (
            float(_text(raw[name])) for name in ("timeout_s", "term_grace_s", "fence_grace_s")
        )
        self.output_cap = int(_text(raw["output_cap"]))


def _text(value: object) -> str:
    if isinstance(value, str) and "\0" not in value:
        return value
    if isinstance(value, int | float):
        return repr(value)
    raise TypeError(f"{value!r:.80} is not text without NUL")


def _items(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("argv is a list")
    return value


def spawn(spec: Spec, run_dir: str, output: int, shell: tuple[int, int], prctl: Prctl) -> tuple[int, str]:
    """Start the command in a session of its own; returns (pid, "") or (0, why it could not be started).

    ``shell`` are the ends of the pipes that the shell in the sandbox writes to and reads from.
    """
    environment = {**spec.env, RUN_MARKER: spec.marker, EXEC_MARKER: run_dir}
    report_read, report_write = os.pipe()
    supervisor = os.getpid()
    pid = os.fork()  # safe: this program has one thread
    if pid == 0:
        os.close(report_read)
        _become_command(spec, environment, output, report_write, shell, supervisor, prctl)
    os.close(report_write)
    report = b""
    while part := os.read(report_read, 4096):
        report += part
    os.close(report_read)
    if report:
        os.waitpid(pid, 0)
        return 0, report.decode(errors="replace")
    return pid, ""


def _become_command(
    spec: Spec,
    environment: dict[str, str],
    output: int,
    report: int,
    shell: tuple[int, int],
    supervisor: int,
    prctl: Prctl,
) -> None:
    stage = "session"
    try:
        # Out of the way of the shell's two descriptors.
        output, report = (fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 10) for handle in (output, report))
        shell = fcntl.fcntl(shell[0], fcntl.F_DUPFD_CLOEXEC, 10), fcntl.fcntl(shell[1], fcntl.F_DUPFD_CLOEXEC, 10)
        _signal.set_wakeup_fd(-1)
        for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # Python ignores them, and ignored signals survive exec
            _signal.signal(number, _signal.SIG_DFL)
        os.setsid()
        prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        stage = f"working directory {spec.cwd}"
        os.chdir(spec.cwd)
        stage = "resource limits"
        _limit(spec)
        stage = f"program {spec.argv[0]}"
        argv = spec.argv
        if spec.sandbox:
            _check_program(spec.argv[0], environment.get("PATH", os.defpath))
            command = [*_before(environment, spec.argv[0]), *spec.argv]
            argv = [*spec.sandbox, "--", "/bin/sh", "-c", SANDBOX_SHELL, "sh", *command]
            os.dup2(shell[0], REPORT_FD)
            os.dup2(shell[1], RELEASE_FD)
        os.execvpe(argv[0], argv, environment)  # noqa: S606  # a shell is what we avoid
    except BaseException as error:
        reason = getattr(error, "strerror", None) or repr(error)
        os.write(report, f"{stage}: {reason}".encode(errors="replace")[:4096])
    finally:
        os._exit(127)


def _limit(spec: Spec) -> None:
    for group in spec.cgroups:
        with open(f"{group}/cgroup.procs", "wb", buffering=0) as file:
            file.write(b"0")
    for name, wanted in spec.rlimits.items():
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        most = wanted + CPU_GRACE_S if which == resource.RLIMIT_CPU else wanted
        if hard != resource.RLIM_INFINITY:
            wanted, most = min(wanted, hard), min(most, hard)
        resource.setrlimit(which, (wanted, most))


def _check_program(name: str, path: str) -> None:
    """Raise what ``exec`` would: behind bubblewrap and a shell it would be an exit code like any other."""
    places = [name] if "/" in name else [f"{directory or '.'}/{name}" for directory in path.split(":")]
    found = [place for place in places if os.path.exists(place)]
    if not any(os.path.isfile(place) and os.access(place, os.X_OK) for place in found):
        number = errno.EACCES if found else errno.ENOENT
        raise OSError(number, os.strerror(number))


def _before(environment: dict[str, str], program: str) -> list[str]:
    """Words before the command: for variables whose names no shell takes, and for a program that it may have built in
    (``echo`` and ``kill`` of a shell are not those on the PATH)."""
    odd = [f"{name}={value}" for name, value in environment.items() if not name.isidentifier() or not name.isascii()]
    return [ENV, *odd] if odd or not {"/", "="} & set(program) else []


# ---- control groups ----


def make_cgroups(groups: dict[str, dict[str, str]]) -> str:
    """Make the control groups of this execution with their limits; returns what went wrong, "" for nothing."""
    try:
        for path, files in groups.items():
            os.mkdir(path, 0o755)
            for name, value in files.items():
                with open(f"{path}/{name}", "wb", buffering=0) as file:
                    file.write(value.encode())
    except OSError as error:
        return f"control group: {error.strerror}"
    return ""


def exceeded(groups: dict[str, dict[str, str]]) -> list[object]:
    """Which limits of these control groups ended or refused something: "memory", "processes"."""
    found: list[object] = []
    for path in groups:
        for file, word, name in (
            ("memory.events", "oom_kill", "memory"),
            ("memory.oom_control", "oom_kill", "memory"),
            ("pids.events", "max", "processes"),
        ):
            try:
                with open(f"{path}/{file}", "rb") as handle:
                    lines = handle.read(4096).decode().splitlines()
            except OSError:  # the other version of control groups, or another controller
                continue
            if any(line.split()[0] == word and line.split()[1] != "0" for line in lines) and name not in found:
                found.append(name)
    return found


def remove_cgroups(groups: dict[str, dict[str, str]]) -> None:
    """Remove empty control groups; one that is still in use stays for the orchestrator's next start."""
    for path in groups:
        for _ in range(CGROUP_TRIES):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(CGROUP_PAUSE_S)
            else:
                break


# ---- supervision ----


class Supervisor:
    """The state machine RUNNING -> SETTLING (left over?) -> TERMINATING -> KILLING -> DONE, driven by one poll()."""

    def __init__(
        self, run_dir: str, spec: Spec, listener: _socket.socket, wakeup: int, stop_requests: list[int]
    ) -> None:
        self.run_dir, self.spec, self.listener, self.wakeup = run_dir, spec, listener, wakeup
        self.phase, self.reason, self.error = "RUNNING", "", ""
        self.pid, self.wait_status, self.has_children = 0, -1, True
        self.report, self.release, self.reported = -1, -1, b""  # of the shell in the sandbox
        self.cancelled, self.stop_requests = False, stop_requests
        self.leftover: set[int] = set()
        self.survivors = 0
        self.connections: dict[int, bytes] = {}
        self.output = Output(spec.output, spec.output_cap, spec.secrets)
        self.pipe = -1
        self.poll = select.poll()
        self.started, self.started_at = time.monotonic(), time.time()
        self.until = self.started + spec.timeout_s
        self.lonely_since: float | None = self.started
        self.heard = self.started  # when the command last printed something
        self.poll.register(listener.fileno(), select.POLLIN)
        self.poll.register(wakeup, select.POLLIN)

    def start(self, prctl: Prctl) -> None:
        """Start the command; a failure is an outcome like any other."""
        self.pipe, write_end = os.pipe()
        self.report, report_end = os.pipe()
        release_end, self.release = os.pipe()
        self.error = make_cgroups(self.spec.cgroups)
        if not self.error:
            ends = (report_end, release_end)
            self.pid, self.error = spawn(self.spec, self.run_dir, write_end, ends, prctl)
        for handle in (write_end, report_end, release_end):
            os.close(handle)
        for handle in (self.pipe, self.report):
            os.set_blocking(handle, False)
            self.poll.register(handle, select.POLLIN)
        if self.pid == 0:
            self.reason, self.phase, self.has_children = "SPAWN_FAILED", "DONE", False

    def run(self) -> None:
        """Until nothing of the tree is left (or nothing more can be done about it)."""
        while self.phase != "DONE":
            self._wait()
            self._reap()
            self._step(time.monotonic())
        self._drain()  # what still stands in the pipe; bounded, for a survivor may go on writing
        self.output.finish()
        self._read_report()
        if self.spec.sandbox and self.pid and self.reason == "EXITED" and not self.reported:
            self.reason = "SPAWN_FAILED"
            words = self.output.first.decode(errors="replace").strip()
            self.error = f"the sandbox could not be made: {words or 'bubblewrap was killed'}"

    def _wait(self) -> None:
        limit = self.until
        if self.phase == "RUNNING":
            limit = min(limit, self._fence(), self._idle())
        if self.phase == "TERMINATING":
            limit = min(limit, self._fence() + FENCED_TERM_S)
        if self._lingers():
            limit = min(limit, time.monotonic() + SANDBOX_PAUSE_S)
        if self.phase == "KILLING":
            limit = time.monotonic() + KILL_PAUSE_S
        pause_ms = max(0.0, min(limit - time.monotonic(), LONGEST_POLL_S)) * 1000 + 1  # poll() rounds down
        for handle, _ in self.poll.poll(pause_ms):
            if handle == self.pipe:
                self._drain()
            elif handle == self.report:
                self._read_report()
            elif handle == self.wakeup:
                os.read(self.wakeup, 4096)
            elif handle == self.listener.fileno():
                self._accept()
            else:
                self._serve(handle)

    def _drain(self) -> None:
        for _ in range(CHUNKS_PER_TURN if self.pipe >= 0 else 0):
            try:
                chunk = os.read(self.pipe, CHUNK)
            except BlockingIOError:
                return
            if not chunk:  # nobody holds the other end any more
                self.poll.unregister(self.pipe)
                os.close(self.pipe)
                self.pipe = -1
                return
            self.heard = time.monotonic()
            self.output.feed(chunk)

    def _read_report(self) -> None:
        while self.report >= 0:
            try:
                chunk = os.read(self.report, 64)
            except BlockingIOError:
                return
            self.reported = (self.reported + chunk)[:64]
            if not chunk:
                self.poll.unregister(self.report)
                os.close(self.report)
                self.report = -1

    def _code(self) -> int | None:
        """The exit code of a command in a sandbox that has ended and left something behind."""
        words = self.reported.split()
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else None

    def _lingers(self) -> bool:
        """The command in the sandbox has ended, and what it left behind may still end in peace."""
        return self.release >= 0 and self.phase in ("SETTLING", "TERMINATING") and self._code() is not None

    def _rest(self) -> dict[int, int]:
        """What lives below, without what makes up the sandbox: bubblewrap, the first process in it, the shell."""
        table = process_table()
        found = descendants(os.getpid(), table)
        if self.spec.sandbox:
            found.pop(self.pid, None)
            for first in [pid for pid in found if table[pid][0] == self.pid]:
                del found[first]
                shells = [pid for pid in found if table[pid][0] == first]
                if shells:
                    del found[min(shells, key=lambda pid: (table[pid][1], pid))]
        return found

    def _reap(self) -> None:
        """Collect every ended descendant (orphans come to a subreaper); ECHILD = no descendant is left at all."""
        while self.has_children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.has_children = False
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.wait_status = status

    def _step(self, now: float) -> None:
        if self.phase == "RUNNING":
            self.reason = self._why_stop(now)
            if self.reason == "EXITED":
                self.phase, self.until = "SETTLING", now + LEFTOVER_SETTLE_S
            elif self.reason:
                self._terminate(now)
        if self._lingers() and not self._rest():
            os.close(self.release)
            self.release = -1
        if not self.has_children:
            self.phase = "DONE"
        elif self.phase == "SETTLING" and now >= self.until:
            self._terminate(now)
        elif self.phase == "TERMINATING" and now >= min(self.until, self._fence() + FENCED_TERM_S):
            self.phase, self.until = "KILLING", now + KILL_LIMIT_S
        if self.phase == "KILLING":
            self.leftover.update(pid for pid in self._rest() if pid != self.pid)
            victims = descendants(os.getpid())
            freeze_and_kill(victims)
            if now >= self.until:
                self.phase, self.survivors = "DONE", len(victims)

    def _why_stop(self, now: float) -> str:
        if self.wait_status >= 0 or self._code() is not None:
            return "EXITED"
        if self.cancelled:
            return "CANCELLED"
        if now >= self.until:
            return "TIMEOUT"
        if now >= self._idle():
            return "IDLE"
        return "FENCED" if now >= self._fence() or self.stop_requests else ""

    def _idle(self) -> float:
        """When the command will have been silent for too long."""
        return self.heard + self.spec.idle_s if self.spec.idle_s else float("inf")

    def _fence(self) -> float:
        """When the tree has to end for want of an orchestrator."""
        return float("inf") if self.lonely_since is None else self.lonely_since + self.spec.fence_grace_s

    def _terminate(self, now: float) -> None:
        """Ask everybody politely, once: the group as a whole, and each of those who left it.

        Not bubblewrap: with it everything in its sandbox would die at once.
        """
        victims = self._rest()
        self.leftover.update(pid for pid in victims if pid != self.pid)
        group = {pid for pid in victims if not self.spec.sandbox and _group(pid) == self.pid}
        if group:
            try:
                os.killpg(self.pid, _signal.SIGTERM)
            except ProcessLookupError:
                group.clear()
        for pid, started in victims.items():
            if pid not in group:
                signal_process(pid, started, _signal.SIGTERM)
            signal_process(pid, started, _signal.SIGCONT)
        self.phase, self.until = "TERMINATING", now + self.spec.term_grace_s

    def _accept(self) -> None:
        try:
            handle, _ = self.listener._accept()  # type: ignore[attr-defined]  # typeshed has it one class below
        except OSError:  # the peer has gone again
            return
        self.adopt(handle)

    def adopt(self, handle: int) -> None:
        """Serve one more connection; it holds the lease until it closes."""
        if len(self.connections) >= MAX_CONNECTIONS:
            os.close(handle)
            return
        os.set_blocking(handle, False)
        self.connections[handle] = b""
        self.lonely_since = None
        self.poll.register(handle, select.POLLIN)
        self._answer(handle)

    def _serve(self, handle: int) -> None:
        try:
            data = os.read(handle, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        lines = (self.connections[handle] + data).split(b"\n")
        if not data or len(lines[-1]) > MAX_LINE:
            self._close(handle)
            return
        self.connections[handle] = lines.pop()
        for line in lines:
            if line == b"detach":
                self._close(handle)
            if handle not in self.connections:
                return
            self.cancelled = self.cancelled or line == b"cancel"
            self._answer(handle)

    def _answer(self, handle: int) -> None:
        record: Json = {
            "phase": self.phase,
            "pid": self.pid,
            "cancelled": self.cancelled,
            "elapsed_s": time.monotonic() - self.started,
            "output_bytes": self.output.total,
        }
        try:
            os.write(handle, format_json(record).encode() + b"\n")
        except OSError:  # gone, or it does not read what it asks for
            self._close(handle)

    def _close(self, handle: int) -> None:
        self.poll.unregister(handle)
        del self.connections[handle]
        os.close(handle)
        if not self.connections:
            self.lonely_since = time.monotonic()

    def result(self) -> Json:
        """The content of ``status.json``; times in seconds, sizes in bytes."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        status, code = self.wait_status, self._code()
        if code is None and status >= 0 and os.WIFEXITED(status):
            code = os.WEXITSTATUS(status)
        if self.reason == "SPAWN_FAILED":
            status, code = -1, None
        return {
            "reason": self.reason,
            "exit_code": code,
            "signal": os.WTERMSIG(status) if code is None and status >= 0 and os.WIFSIGNALED(status) else None,
            "limits": exceeded(self.spec.cgroups),
            "error": self.error or self.output.error,
            "leftover": len(self.leftover),
            "survivors": self.survivors,
            "started_at": self.started_at,
            "finished_at": time.time(),
            "duration_s": time.monotonic() - self.started,
            "output_bytes": self.output.total,
            "truncated": self.output.truncated,
            "max_rss_bytes": usage.ru_maxrss * 1024,
            "cpu_s": usage.ru_utime + usage.ru_stime,
        }


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return -1


# ---- start ----


def read_spec(path: str) -> Spec:
    """Read and delete the specification; raises OSError or what ``Spec`` raises."""
    with open(path, "rb") as file:
        data = file.read(MAX_SPEC_BYTES + 1)
    if len(data) > MAX_SPEC_BYTES:
        raise ValueError("specification too large")
    spec = Spec(parse_json(data.decode()))
    os.unlink(path)
    return spec


def listen(run_dir: str) -> _socket.socket:
    """The control socket. Bound through /proc/self/fd: the address of a UNIX socket holds only 107 bytes of path."""
    directory = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY)
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    previous = os.umask(0o177)
    try:
        listener.bind(f"/proc/self/fd/{directory}/control.sock")
    finally:
        os.umask(previous)
        os.close(directory)
    listener.listen(MAX_CONNECTIONS)
    listener.setblocking(False)
    return listener


def catch_signals() -> tuple[int, list[int]]:
    """(descriptor that becomes readable on a signal, list in which stop requests appear).

    Handlers, not SIG_IGN, because ignored signals are inherited by the command. Installed before the fork, so that no
    exit is missed.
    """
    stop: list[int] = []
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    _signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (_signal.SIGCHLD, _signal.SIGINT, _signal.SIGHUP):
        _signal.signal(number, lambda number, frame: None)
    _signal.signal(_signal.SIGTERM, lambda number, frame: stop.append(number))
    return read_end, stop


def subreaper() -> Prctl:
    """Make this process adopt all orphans below it; returns ``prctl`` for the command's side of the fork."""
    function = _ctypes.dlsym(_ctypes.dlopen(None, RTLD_NOW), "prctl")  # type: ignore[arg-type]  # None = this program

    def prctl(option: int, value: int) -> int:
        return int(_ctypes.call_function(function, (option, value)))

    if prctl(PR_SET_CHILD_SUBREAPER, 1) != 0:
        raise OSError("this kernel has no PR_SET_CHILD_SUBREAPER")
    return prctl


def main(run_dir: str) -> int:
    lock = os.open(f"{run_dir}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another supervisor is at work in this directory", file=sys.stderr)
        return EX_TEMPFAIL
    if os.path.exists(f"{run_dir}/status.json") or os.path.exists(f"{run_dir}/pid"):
        print("this directory was used before", file=sys.stderr)
        return EX_CANTCREAT
    try:
        spec = read_spec(f"{run_dir}/spec.json")
    except (OSError, KeyError, TypeError, ValueError) as error:
        print(f"bad spec.json: {error!r}", file=sys.stderr)
        return EX_DATAERR
    wakeup, stop = catch_signals()
    prctl = subreaper()
    supervisor = Supervisor(run_dir, spec, listen(run_dir), wakeup, stop)
    own = process_stat(os.getpid())
    write_atomically(f"{run_dir}/pid", format_json({"pid": os.getpid(), "starttime": own and own[1]}).encode())
    prctl(PR_SET_DUMPABLE, 0)  # it knows the environment; the command, of the same user, is not to read its memory
    supervisor.start(prctl)
    if stat.S_ISSOCK(os.fstat(0).st_mode):
        supervisor.adopt(os.dup(0))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    supervisor.run()
    if supervisor.pid:
        sweep(run_dir)
    result = supervisor.result()
    remove_cgroups(spec.cgroups)
    write_atomically(f"{run_dir}/status.json", format_json(result).encode())
    return 0


if __name__ == "__main__":
    code = main(os.path.abspath(sys.argv[1]))
    sys.stderr.flush()
    os._exit(code)  # nothing is left to tear down, and tearing an interpreter down costs 2 ms
