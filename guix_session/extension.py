"""Jupyter Server's extension that tells people about their session, and does for them what only the session can.

Below the server's own address, behind Jupyter's own login and XSRF checks:

- ``GET guix-session/state``: what this session is, its limits, what is to be said at the moment
- ``POST guix-session/activity``: the person is still there
- ``GET guix-session/update``: how the working copy stands to the started version
- ``POST guix-session/update``: bring the working copy there, if nothing of the person's is touched by it

A change goes to browsers as an event of Jupyter's own (`EVENT`), by which they know that it is time to ask.
"""

import asyncio
import contextlib
import datetime
import json
import time
from dataclasses import dataclass
from pathlib import Path

from jupyter_server.base.handlers import APIHandler
from jupyter_server.serverapp import ServerApp, ServerWebApplication
from jupyter_server.utils import url_path_join
from tornado import web

from guix_session.memory import MemoryEvents
from guix_session.notices import Notice, new_copy, notices, out_of_memory
from guix_session.project import Projects
from guix_session.standing import Standing
from guix_session.surroundings import Session

EVENT = "https://guixspawner.example/session/v1"
"""The name of the event's form.  It holds nothing: what there is to know is asked for."""

_EVENT_FORM = {
    "$id": EVENT,
    "version": "1",
    "title": "Session changed",
    "description": "Something is to be said about this session.",
    "type": "object",
    "properties": {},
}
_TELL_SECONDS = 900.0
"""How long it is told that a program was ended, also to a page that is opened anew."""
_LOOK_SECONDS = 1.0
"""How often the kernel's count and the clock are looked at; reading the count takes some microseconds."""


@dataclass(slots=True)
class _State:
    """What the extension knows of the session of this process."""

    session: Session
    events: MemoryEvents
    kills: int = 0
    last_kill: float = 0.0
    """When the last one was seen, in seconds since 1970."""
    told: tuple[object, ...] = (0,)
    """What browsers were last told of, without the words: minutes pass in these."""
    watching: asyncio.Task[None] | None = None


_TABS = "lab/api/workspaces/"
"""Where JupyterLab keeps which tabs are open."""

_prepared: list[_State] = []


def prepare(session: Session) -> None:
    """Say which session this process serves, before Jupyter Server loads this extension."""
    events = MemoryEvents(Path(session.memory_events) if session.memory_events else None)
    # The counter may be that of a cgroup which an earlier session used.
    events.more()
    _prepared[:] = [_State(session, events)]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    (state,) = _prepared
    projects = Projects(state.session.project)
    server.event_logger.register_event_schema(_EVENT_FORM)
    count_work_alone()
    base = url_path_join(server.base_url, "guix-session")
    server.web_app.add_handlers(
        ".*$",
        [
            (url_path_join(base, "state"), StateHandler, {"state": state}),
            (url_path_join(base, "activity"), ActivityHandler),
            (url_path_join(base, "update"), UpdateHandler, {"projects": projects}),
        ],
    )
    server.io_loop.add_callback(_watch, state, server)


def count_work_alone() -> None:
    """Have a request that only reads be no activity: a page asks for files and kernels as long as it is open.

    Nor is one by which it keeps where its tabs are, which it sends by itself.  What else changes something is activity, and
    so are kernels and terminals; JupyterLab tells of keys and clicks (`ActivityHandler`).
    """
    counted = APIHandler.update_api_activity

    def update(handler: APIHandler) -> None:
        reads = handler.request.method in {"GET", "HEAD", "OPTIONS"}
        if not reads and not handler.request.path.startswith(url_path_join(handler.base_url, _TABS)):
            counted(handler)

    APIHandler.update_api_activity = update


def note_computing(server: ServerApp) -> None:
    """Have a kernel that is at work be activity, also where it prints nothing for hours."""
    if any(kernel.get("execution_state") == "busy" for kernel in server.kernel_manager.list_kernels()):
        server.web_app.settings["last_activity_times"][__name__] = datetime.datetime.now(datetime.UTC)


async def _stop_jupyter_server_extension(_: ServerApp) -> None:
    for state in _prepared:
        if state.watching:
            state.watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await state.watching


def _watch(state: _State, server: ServerApp) -> None:
    state.watching = asyncio.ensure_future(_keep_watching(state, server))


async def _keep_watching(state: _State, server: ServerApp) -> None:
    """Tell browsers whenever there is something else to say, until the server ends."""
    while True:
        if more := state.events.more():
            state.kills, state.last_kill = state.kills + more, time.time()
        note_computing(server)
        told = (state.kills, *(notice.kind for notice in _notices(state, server.web_app)))
        if told != state.told:
            state.told = told
            server.event_logger.emit(schema_id=EVENT, data={})
        await asyncio.sleep(_LOOK_SECONDS)


def _notices(state: _State, application: ServerWebApplication) -> tuple[Notice, ...]:
    last = application.last_activity().timestamp()
    found = notices(state.session, now=time.time(), last_activity=last)
    if time.time() - state.last_kill < _TELL_SECONDS:
        found.append(out_of_memory(state.session, state.kills))
    if copy := new_copy(state.session.project):
        found.append(copy)
    return tuple(found)


class StateHandler(APIHandler):
    """What this session is."""

    # To look at the clock is no work.
    _track_activity = False

    def initialize(self, state: _State) -> None:
        """Take what is known."""
        self.state = state

    @web.authenticated
    async def get(self) -> None:
        """Answer with it."""
        session = self.state.session
        self.finish(
            json.dumps(
                {
                    "environment": session.environment,
                    "repository": session.project.address,
                    "ref": session.project.ref,
                    "commit": session.project.commit,
                    "project": session.project.folder,
                    "started": session.started,
                    "ends": session.ends,
                    "idleSeconds": session.idle_seconds,
                    "limits": dict(session.limits),
                    "outOfMemory": self.state.kills,
                    "notices": [notice.told() for notice in _notices(self.state, self.application)],
                }
            )
        )


class ActivityHandler(APIHandler):
    """A word of the person's that they are still there.  That the request came is all: the server writes down when."""

    @web.authenticated
    async def post(self) -> None:
        """Take note."""
        self.set_status(204)
        self.finish()


class UpdateHandler(APIHandler):
    """The working copy and the started version."""

    _track_activity = False

    def initialize(self, projects: Projects) -> None:
        """Take what knows the working copy."""
        self.projects = projects

    @web.authenticated
    async def get(self) -> None:
        """Answer how it stands."""
        self._answer(await asyncio.to_thread(self.projects.standing))

    @web.authenticated
    async def post(self) -> None:
        """Bring it to the started version, or answer why not."""
        self._answer(await asyncio.to_thread(self.projects.update))

    def _answer(self, standing: Standing) -> None:
        self.finish(json.dumps(standing.told()))
