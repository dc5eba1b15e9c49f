"""The service at work: its parts put together, listening, and in order when it ends."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets, bind_unix_socket

from guix_build_service.local.door import socket_in
from guix_build_service.local.started import Started
from guix_build_service.local.turn import service_turn, until_succeeded
from guix_build_service.logs.build_logs import Logs
from guix_build_service.logs.log_lines import FORMAT, OneLine
from guix_build_service.manager.manager import Manager, MayAdd, Policy
from guix_build_service.model.turns import Limits
from guix_build_service.pipeline.disk import Disk
from guix_build_service.pipeline.pipeline import Pipeline
from guix_build_service.program.application import BuildService
from guix_build_service.program.initial_environments import add_initial_environments
from guix_build_service.program.preparation import (
    check_git,
    check_isolation,
    check_ssh,
    check_walls,
    cookie_secret,
    key_source,
    open_store,
    prepare_folder,
)
from guix_build_service.queue.queue import Queue
from guix_build_service.queue.retaining import Retainer
from guix_build_service.settings.isolation import Isolation
from guix_build_service.settings.login_tokens import LoginTokenHosts
from guix_build_service.settings.retention import Retention
from guix_build_service.store.credentials import CredentialRows
from guix_build_service.store.webhooks import WebhookRows
from guix_build_service.vault.hooks import Hooks
from guix_build_service.vault.login_tokens import LoginTokens
from guix_build_service.vault.seals import KeySource
from guix_build_service.vault.vault import Vault
from guix_build_service.web.application import make_application, make_local_application, make_server
from guix_build_service.web.hub_client import HubClient
from guix_build_service.web.limits import RequestLimits
from guix_build_service.web.settings import WebSettings, shared_folder
from guix_environment import own_memory
from guix_environment.errors import FolderInUse

log = logging.getLogger("guix_build_service")


def start(service: BuildService) -> None:
    """Run until the hub, or a person, ends it."""
    own_memory.close()
    output = logging.StreamHandler()
    output.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[output])
    log.setLevel(service.log.getEffectiveLevel())
    asyncio.run(serve(service))


async def serve(service: BuildService) -> None:
    """Serve until SIGTERM or SIGINT arrives, or a successor's turn has come; then end every build's processes and return."""
    # The hub and the sessions, which run as others, read the records; what is ours alone is in a closed folder.
    os.umask(0o022)
    parent, ended = os.getppid(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    prepare_folder(service.folder)
    await check_git(service.workshop().git)
    check_ssh(service)
    await check_walls(service)
    await check_isolation(service)
    async with turn(service), parts(service, key_source(service)) as (manager, queue), listening(service, manager):
        await asyncio.to_thread(Started.now(service.words).write, service.folder)
        # Whatever is there by now stays: to look through it again and again for what could be freed makes everybody wait.
        gc.collect()
        gc.freeze()
        # The hub waits for an answer and gives up soon, so that whatever may take a while comes after it.
        beginning = asyncio.create_task(begin(service, manager, queue), name="begin")
        ending = asyncio.create_task(_either(ended, service, parent), name="ended")
        await asyncio.wait([beginning, ending], return_when=asyncio.FIRST_COMPLETED)
        if beginning.done():
            beginning.result()
            await ending
        for task in (beginning, ending):
            task.cancel()
        await asyncio.gather(beginning, ending, return_exceptions=True)


async def _either(ended: asyncio.Event, service: BuildService, parent: int) -> None:
    """Return once somebody ENDED us, or another service succeeds us whose PARENT, the hub, is gone."""
    await first_of(ended.wait(), *([until_succeeded(service.folder, parent)] if service.is_alone_with_database else []))


async def first_of(*waits: Coroutine[object, object, object]) -> None:
    """Return once one of WAITS has, and cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def turn(service: BuildService) -> AsyncIterator[None]:
    """Have the folder of SERVICE to ourselves, where nobody else may work with it.

    Raises `SystemExit` with one sentence where another does.
    """
    if not service.is_alone_with_database:
        yield
        return
    async with contextlib.AsyncExitStack() as until_ended:
        try:
            await until_ended.enter_async_context(service_turn(service.folder))
        except FolderInUse as error:
            sys.exit(f"guix-build-service: {error.message} {error.hint}")
        except OSError as error:
            sys.exit(f"guix-build-service: cannot write into {service.folder}: {error.strerror}")
        yield


def login_tokens(service: BuildService) -> LoginTokens | None:
    """Return the tokens of people's logins at the hub, where the administrator has some used."""
    places = LoginTokenHosts(parent=service).places()
    if not places:
        return None
    hub, token = HubClient(os.environ.get("JUPYTERHUB_API_URL", "")), os.environ.get("JUPYTERHUB_API_TOKEN", "")
    return LoginTokens(places, partial(hub.person, token), partial(hub.scopes, token))


@contextlib.asynccontextmanager
async def parts(service: BuildService, keys: KeySource) -> AsyncIterator[tuple[Manager, Queue]]:
    """Put the service together, with KEYS for secrets; when the context ends no process of a build runs any more."""
    limits = Limits(
        service.running_builds,
        service.running_builds_per_person or None,
        service.running_builds_per_repository or None,
        service.running_builds_per_host or None,
    )
    store = await open_store(service, limits)
    logs = Logs(service.folder / "logs")
    vault = Vault(CredentialRows(store), keys, service.folder / "loans", login_tokens(service))
    workshop = service.workshop()
    pipeline = Pipeline(replace(workshop, git=replace(workshop.git, lender=vault.lend), secrets=vault.to_keep_out))
    disk = Disk((service.folder, Path("/gnu/store")), service.least_free_space)
    queue = Queue(store, pipeline, logs, service.folder / "builds", disk)
    policy = Policy(
        MayAdd(service.who_may_add),
        frozenset(service.adding_groups),
        service.environments_per_person or None,
        service.builds_per_hour or None,
        service.disk_per_person or None,
        workshop.evaluation.all_groups if workshop.evaluation else frozenset(),
    )
    retainer = Retainer(store, pipeline, Retention(parent=service).schedule())
    try:
        hooks = Hooks(WebhookRows(store), keys)
        yield Manager(store, queue, logs, policy, service.session_logs(), vault, hooks, retainer), queue
    finally:
        await retainer.stop()
        await queue.stop()
        await store.close()


@contextlib.asynccontextmanager
async def listening(service: BuildService, manager: Manager) -> AsyncIterator[None]:
    """Answer requests while the context lasts."""
    settings = web_settings(service, os.environ)
    server = make_server(make_application(manager, settings))
    listen(server, service.address or os.environ.get("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:10101"))
    try:
        async with listening_locally(service, manager, settings):
            yield
    finally:
        server.stop()
        await server.close_all_connections()


@contextlib.asynccontextmanager
async def listening_locally(service: BuildService, manager: Manager, settings: WebSettings) -> AsyncIterator[None]:
    """Answer the requests of this machine's accounts while the context lasts, at the socket in the folder of SERVICE.

    A socket that an earlier service left there, at which nobody listens, goes.
    """
    server = make_server(make_local_application(manager, settings))
    with socket_in(service.folder) as path:
        server.add_socket(bind_unix_socket(path, mode=0o600))
    try:
        yield
    finally:
        server.stop()
        await server.close_all_connections()


def web_settings(service: BuildService, variables: Mapping[str, str]) -> WebSettings:
    """Return what the web of SERVICE needs to know, with what the hub says in VARIABLES."""
    workshop, isolation = service.workshop(), Isolation(config=service.config)
    return WebSettings.from_environment(
        variables,
        cookie_secret=cookie_secret(service.folder / "cookie-secret"),
        templates=shared_folder("templates") / "service",
        static=shared_folder("static"),
        isolation=partial(isolation.report, workshop.guix, service.folder, workshop.evaluation),
        limits=RequestLimits(parent=service),
    )


async def begin(service: BuildService, manager: Manager, queue: Queue) -> None:
    """Take up what an earlier run left, and add what the configuration wants to be there."""
    await manager.vault.begin()
    await manager.hooks.begin()
    await manager.retainer.look_back()
    await queue.start()
    await manager.retainer.start()
    await manager.vault.look_at_logins()
    file = service.folder / "initial-environments.json"
    await add_initial_environments(manager, service.initial_environments, service.initial_owner, file)


def listen(server: HTTPServer, address: str) -> None:
    """Have SERVER listen at ADDRESS, ``http://HOST:PORT`` or ``http+unix://PATH`` with its slashes quoted.

    Raises `SystemExit` with one sentence where something else listens there.
    """
    parts = urlsplit(address)
    try:
        if parts.scheme == "http+unix":
            server.add_socket(bind_unix_socket(unquote(parts.netloc), mode=0o600))
        else:
            server.add_sockets(bind_sockets(parts.port or 80, parts.hostname or "127.0.0.1"))
    except OSError as error:
        sys.exit(f"guix-build-service: cannot listen at {address}: {error.strerror}")
