"""A JupyterHub for tests and benchmarks: everybody has a server of their own, and students' are in a jail.

As in a container of a cluster, a student's server sees a home of its own and the exchange, and runs as
`jovyan`: bubblewrap does it without root. The proxy is the one that is written in Python. The exchange is a
folder that all servers see, or ngshare, a service of the hub.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.courses import ROOT, own_programs

COURSE_ID = "normalization-and-momentum"
INSTRUCTOR = "teacher"
#: The hub's configuration. The names in capitals are filled in.
_CONFIG = """
import sys
from pathlib import Path

GIVEN = {given!r}
c.JupyterHub.ip = c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.port, c.JupyterHub.hub_port = GIVEN["port"], GIVEN["hub_port"]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{{GIVEN['api_port']}}"
c.ConfigurableHTTPProxy.command = [str(Path(sys.executable).with_name("configurable-http-proxy"))]
c.JupyterHub.db_url = "sqlite:///:memory:"
c.JupyterHub.cookie_secret_file = GIVEN["folder"] + "/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = set(GIVEN["users"])
c.JupyterHub.services = [{{"name": "tests", "api_token": GIVEN["token"]}}, *GIVEN["services"]]
c.JupyterHub.load_roles = [
    {{"name": "tests", "services": ["tests"], "scopes": ["admin:users", "admin:servers", "tokens"]}},
    *GIVEN["roles"],
]
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = GIVEN["folder"] + "/homes/{{username}}"
c.Spawner.environment = GIVEN["environment"]
c.Spawner.args = ["--allow-root", "--ServerApp.disable_check_xsrf=True"]
c.Spawner.default_url = "/lab"
c.Spawner.http_timeout = c.Spawner.start_timeout = 300


def jailed(spawner):
    home = Path(GIVEN["folder"], "homes", spawner.user.name)
    home.mkdir(parents=True, exist_ok=True)
    if spawner.user.name != GIVEN["instructor"]:
        spawner.cmd = [*GIVEN["jail"], "--bind", str(home), str(home), "--chdir", str(home), *spawner.cmd]


c.Spawner.pre_spawn_hook = jailed
"""


#: Who may reach ngshare: people's servers, and what they do with their own tokens.
_REACH = "access:services!service=ngshare"
_ROLES = [
    {"name": "server", "scopes": ["users:activity!user", "access:servers!server", _REACH]},
    {"name": "user", "scopes": ["self", _REACH]},
]
#: ngshare, which listens on all addresses of the machine by itself, on its own address alone.
_NGSHARE = """
import sys
from tornado.httpserver import HTTPServer

listen = HTTPServer.listen
HTTPServer.listen = lambda server, port, *given: listen(server, port, "127.0.0.1")
from ngshare.ngshare import main

main(sys.argv[1:])
"""
#: nbgrader's configuration where it is in the exchange's place.
_BY_NGSHARE = """
import ngshare_exchange
ngshare_exchange.configureExchange(c)
c.Exchange._ngshare_url = {url!r}
"""


def missing() -> str | None:
    """What this machine lacks for a hub; None if it has all."""
    for program, why in (("jupyterhub", "the extra hub"), ("configurable-http-proxy", "the extra hub")):
        if not Path(sys.executable).with_name(program).exists():
            return f"no {program}: {why} is not installed"
    bwrap = shutil.which("bwrap")
    if not bwrap:
        return "no bubblewrap"
    tried = subprocess.run([bwrap, "--unshare-user", "--uid", "1000", "--ro-bind", "/", "/", "true"])
    return "bubblewrap may not make namespaces here" if tried.returncode else None


def ngshare() -> Path | None:
    """The environment of ngshare that TEST_NGSHARE names (see docs/hub.md); None where it names none."""
    given = os.environ.get("TEST_NGSHARE")
    return Path(given).resolve() if given else None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@dataclass
class Hub:
    """A running hub. folder: the homes, the exchange and the log are in it."""

    folder: Path
    address: str
    token: str
    process: subprocess.Popen[bytes]
    tokens: dict[str, str] = field(default_factory=dict)

    def home(self, user: str) -> Path:
        return self.folder / "homes" / user

    def ask(self, method: str, path: str, data: Any = None, token: str | None = None) -> Any:
        """The JSON that an address of the hub or of a server answers. Raises urllib.error.HTTPError."""
        body = None if data is None else json.dumps(data).encode()
        return self._asked(method, path, body, "application/json", token or self.token)

    def post_form(self, user: str, path: str, fields: Mapping[str, str]) -> Any:
        """The JSON that a service answers somebody who sends a form. Raises urllib.error.HTTPError."""
        kind = "application/x-www-form-urlencoded"
        return self._asked("POST", path, urlencode(fields).encode(), kind, self.tokens[user])

    def _asked(self, method: str, path: str, body: bytes | None, kind: str, token: str) -> Any:
        headers = {"Authorization": f"token {token}", "Content-Type": kind}
        request = urllib.request.Request(self.address + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=300) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def meet(self, user: str) -> None:
        """Have the hub know somebody, and take a token of theirs."""
        with contextlib.suppress(urllib.error.HTTPError):  # it knows them already
            self.ask("POST", f"/hub/api/users/{user}")
        self.tokens[user] = self.ask("POST", f"/hub/api/users/{user}/tokens", {})["token"]

    def start(self, *users: str) -> None:
        """Start these people's servers, and wait until they answer."""
        for user in users:
            self.meet(user)
            self.ask("POST", f"/hub/api/users/{user}/server", {})
        end = time.monotonic() + 300
        for user in users:
            while not self.ask("GET", f"/hub/api/users/{user}")["server"]:
                if time.monotonic() > end:
                    raise TimeoutError((self.folder / "hub.log").read_text()[-3000:])
                time.sleep(0.2)

    def processes(self) -> dict[int, str]:
        """All that was started for this hub and still is there: the proxy, services, servers and kernels."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile, or is somebody else's
                if str(self.folder).encode() in (place / "environ").read_bytes():
                    command = (place / "cmdline").read_bytes()
                    found[int(place.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        return found

    def end(self) -> None:
        """End the hub as an administrator does, who stops its service; it ends what it has started."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def of(self, user: str, method: str, path: str, data: Any = None) -> Any:
        """What somebody's own server answers them."""
        return self.ask(method, f"/user/{user}{path}", data, self.tokens[user])

    def run(self, user: str, sources: Sequence[str]) -> list[str]:
        """Run cells in a kernel of somebody's server; returns what each showed. The kernel is ended."""
        kernel = self.of(user, "POST", "/api/kernels", {"name": "python3", "path": ""})["id"]
        try:
            return self.run_in(user, kernel, sources)
        finally:
            self.of(user, "DELETE", f"/api/kernels/{kernel}")

    def run_in(self, user: str, kernel: str, sources: Sequence[str]) -> list[str]:
        """Run cells in this kernel."""
        import asyncio

        return asyncio.run(self._run_in(user, kernel, sources))

    async def _run_in(self, user: str, kernel: str, sources: Sequence[str]) -> list[str]:
        from tornado.httpclient import HTTPRequest
        from tornado.websocket import websocket_connect

        address = f"{self.address.replace('http', 'ws', 1)}/user/{user}/api/kernels/{kernel}/channels"
        headers = {"Authorization": f"token {self.tokens[user]}"}
        socket = await websocket_connect(HTTPRequest(address, headers=headers, connect_timeout=60))
        shown = []
        for number, source in enumerate(sources):
            header = {
                "msg_id": f"{number}",
                "msg_type": "execute_request",
                "session": "tests",
                "username": user,
            }
            content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False}
            message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
            await socket.write_message(json.dumps({**message, "channel": "shell"}))
            shown.append("")
            while True:
                answer = await socket.read_message()
                if answer is None:
                    raise ConnectionError(shown[-1])
                said = json.loads(answer)
                if said["parent_header"].get("msg_id") != f"{number}":
                    continue
                kind, content = said["msg_type"], said["content"]
                if kind == "stream":
                    shown[-1] += content["text"]
                elif kind in ("execute_result", "display_data"):
                    shown[-1] += content["data"].get("text/plain", "")
                elif kind == "error":
                    shown[-1] += f"{content['ename']}: {content['evalue']}"
                elif kind == "status" and content["execution_state"] == "idle":
                    break
        socket.close()
        return shown


@contextlib.contextmanager
def hub(folder: Path, students: Sequence[str], ngshare: Path | None = None) -> Iterator[Hub]:
    """A hub with an instructor and these students, which ends with the block.

    ngshare: an environment that has it, for ngshare to be in the exchange's place.
    """
    exchange, homes, shared = folder / "exchange", folder / "homes", folder / "shared"
    for one in (exchange, homes, shared):
        one.mkdir(parents=True)
    exchange.chmod(0o777)
    (shared / "passwd").write_text("root:x:0:0::/root:/bin/sh\njovyan:x:1000:1000::/:/bin/sh\n")
    (shared / "nbgrader_config.py").write_text(
        f"c = get_config()\nc.Exchange.root = {str(exchange)!r}\n"
        f"c.CourseDirectory.course_id = {COURSE_ID!r}\nc.ExchangeCollect.check_owner = False\n"
    )
    ports = {name: free_port() for name in ("port", "hub_port", "api_port")}
    address = f"http://127.0.0.1:{ports['port']}"
    if ngshare:
        with (shared / "nbgrader_config.py").open("a") as config:
            config.write(_BY_NGSHARE.format(url=f"{address}/services/ngshare"))
    libraries = [ROOT, *([ngshare / "exchange"] if ngshare else [])]
    seen = [str(one) for one in (*libraries, sys.prefix, shared)]
    jail = [
        *("bwrap", "--die-with-parent", "--unshare-user", "--uid", "1000", "--gid", "1000"),
        *("--ro-bind", "/", "/"),
        *("--dev-bind", "/dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", str(homes)),
        *(part for one in seen for part in ("--ro-bind", one, one)),
        *("--bind", str(exchange), str(exchange), "--ro-bind", str(shared / "passwd"), "/etc/passwd"),
    ]
    environment = {
        **own_programs(),
        "JUPYTER_CONFIG_PATH": str(shared),
        "PYTHONPATH": os.pathsep.join(map(str, libraries)),
        "OMP_NUM_THREADS": "1",
    }
    given = {
        "folder": str(folder),
        "users": [INSTRUCTOR, *students],
        "instructor": INSTRUCTOR,
        "token": secrets.token_hex(16),
        "services": [_service(ngshare, folder)] if ngshare else [],
        "roles": _ROLES if ngshare else [],
        "jail": jail,
        "environment": environment,
        **ports,
    }
    config = folder / "jupyterhub_config.py"
    config.write_text(_CONFIG.format(given=given))
    command = [str(Path(sys.executable).with_name("jupyterhub")), "-f", str(config)]
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **own_programs(), "HUB_OF_TESTS": str(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = Hub(folder, address, given["token"], process)
    try:
        _wait(started)
        if ngshare:
            _enrol(started, students)
        yield started
    finally:
        started.end()


def _service(ngshare: Path, folder: Path) -> dict[str, Any]:
    """ngshare as a service of the hub, with a folder of its own for what is handed in."""
    kept = folder / "ngshare"
    kept.mkdir()
    return {
        "name": "ngshare",
        "url": f"http://127.0.0.1:{free_port()}",
        "command": [
            *(str(ngshare / "bin" / "python"), "-c", _NGSHARE),
            *("--admins", INSTRUCTOR, "--database", f"sqlite:///{kept}/ngshare.db"),
            *("--storage", str(kept / "files")),
        ],
        "environment": {"HUB_OF_TESTS": str(folder)},
        "oauth_no_confirm": True,
    }


def _enrol(started: Hub, students: Sequence[str]) -> None:
    """Tell ngshare who teaches the course and who is in it, as its administrator."""
    started.meet(INSTRUCTOR)
    course = f"/services/ngshare/course/{COURSE_ID}"
    form = {"instructors": json.dumps([INSTRUCTOR])}
    end = time.monotonic() + 120
    while True:
        try:
            said = [started.post_form(INSTRUCTOR, course, form)]
            break
        except urllib.error.HTTPError:  # the proxy has it, and it does not listen yet
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
    for student in students:
        path = f"/services/ngshare/student/{COURSE_ID}/{student}"
        form = {"first_name": student, "last_name": "", "email": f"{student}@example.org"}
        said.append(started.post_form(INSTRUCTOR, path, form))
    assert all(one["success"] for one in said), said


def _wait(started: Hub) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            started.ask("GET", "/hub/api/")
            return
        except (urllib.error.URLError, ConnectionError):
            if started.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((started.folder / "hub.log").read_text()[-3000:]) from None
            time.sleep(0.2)
