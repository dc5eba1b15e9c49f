"""The hub's configuration, as `make run` and the tests use it, and a place to start from for a hub of one's own.

Read from the environment: PORT, STATE (the folder for everything that is kept), PRIVATE_HOSTS, and the variables of
oauthenticator for logging in with GitHub, GitLab or any OAuth 2 provider (see `guixspawner/sign_in.py`).  Without such a
provider there is one account, `demo`, an administrator, whose password lies in STATE/hub/demo-password.
"""

import os
from pathlib import Path

from demo import account
from demo.examples import TITLES
from guixspawner.configure import configure
from guixspawner.sign_in import configure_sign_in

c = get_config()  # noqa: F821 - JupyterHub provides it

state = Path(os.environ.get("STATE") or Path(__file__).with_name(".state")).absolute()
examples = state / "examples"

configure(
    c,
    state_folder=state,
    port=int(os.environ.get("PORT") or 8000),
    private_hosts=os.environ.get("PRIVATE_HOSTS", "").replace(",", " ").split(),
    file_repositories=[examples],
    initial_environments=[{"repo": f"file://{examples / folder}", "name": title} for folder, title in TITLES.items()],
    initial_owner=account.NAME,
    service_account=account.service_account(),
)

# A hub that is ended by Ctrl-C takes its sessions along; one that runs as a system service would leave them running.
c.JupyterHub.cleanup_servers = True

if configure_sign_in(c, os.environ) is None:
    c.JupyterHub.authenticator_class = "shared-password"
    c.Authenticator.allowed_users = {account.NAME}
    c.Authenticator.admin_users = {account.NAME}
    c.SharedPasswordAuthenticator.admin_password = account.password(state)
