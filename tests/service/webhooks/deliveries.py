"""Deliveries as forges send them: the bodies are those of their own documentation, with the repository's address put in."""

import hashlib
import hmac
import json
from urllib.parse import quote

OLD, NEW = "95790bf891e76fee5e1747ab589903a6a1f80f22", "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"
ZEROS = "0" * 40


def of_github(repository: str, ref: str = "refs/heads/main", after: str = NEW) -> dict[str, object]:
    """Return the body of GitHub's event ``push`` (its documentation, "Webhook events and payloads"), shortened."""
    name = repository.rpartition("/")[2]
    return {
        "ref": ref,
        "before": OLD,
        "after": after,
        "created": False,
        "deleted": after == ZEROS,
        "forced": False,
        "base_ref": None,
        "compare": f"{repository}/compare/{OLD[:12]}...{after[:12]}",
        "commits": [{"id": after, "message": "Plot it", "added": [], "removed": [], "modified": ["README.md"]}],
        "repository": {
            "id": 186853002,
            "name": name,
            "full_name": f"Codertocat/{name}",
            "private": False,
            "html_url": repository,
            "url": repository,
            "git_url": repository.replace("https:", "git:") + ".git",
            "ssh_url": f"git@github.com:Codertocat/{name}.git",
            "clone_url": f"{repository}.git",
            "default_branch": "main",
        },
        "pusher": {"name": "Codertocat", "email": "21031067+Codertocat@users.noreply.github.com"},
    }


def of_gitlab(repository: str, ref: str = "refs/heads/main", after: str = NEW) -> dict[str, object]:
    """Return the body of GitLab's ``Push Hook`` (its documentation, "Webhook events"), shortened."""
    described = {
        "name": "Diaspora",
        "description": "",
        "homepage": repository,
        "git_http_url": f"{repository}.git",
        "git_ssh_url": "git@example.com:mike/diaspora.git",
        "visibility_level": 0,
    }
    return {
        "object_kind": "push",
        "event_name": "push",
        "before": OLD,
        "after": after,
        "ref": ref,
        "checkout_sha": None if after == ZEROS else after,
        "user_id": 4,
        "project_id": 15,
        "project": {
            **described,
            "id": 15,
            "web_url": repository,
            "avatar_url": None,
            "namespace": "Mike",
            "path_with_namespace": "mike/diaspora",
            "default_branch": "main",
            "url": "git@example.com:mike/diaspora.git",
        },
        "repository": {**described, "url": "git@example.com:mike/diaspora.git"},
        "commits": [],
        "total_commits_count": 4,
    }


def of_gitea(repository: str, ref: str = "refs/heads/main", after: str = NEW) -> dict[str, object]:
    """Return the body of Gitea's and Forgejo's event ``push`` (their documentation, "Webhooks"), shortened."""
    return {
        "ref": ref,
        "before": OLD,
        "after": after,
        "compare_url": f"{repository}/compare/{OLD}...{after}",
        "commits": [{"id": after, "message": "Webhooks Yay!", "url": f"{repository}/commit/{after}"}],
        "repository": {
            "id": 140,
            "name": "webhooks",
            "full_name": "gitea/webhooks",
            "private": False,
            "html_url": repository,
            "ssh_url": "ssh://gitea@localhost:2222/gitea/webhooks.git",
            "clone_url": f"{repository}.git",
            "website": "",
            "default_branch": "main",
        },
        "pusher": {"id": 1, "login": "gitea"},
    }


BODIES = {"github": of_github, "gitlab": of_gitlab, "gitea": of_gitea, "forgejo": of_gitea}

EVENTS = {
    "github": {"X-GitHub-Event": "push", "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958"},
    "gitlab": {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Instance": "https://gitlab.com"},
    "gitea": {"X-Gitea-Event": "push", "X-Gogs-Event": "push", "X-GitHub-Event": "push"},
    "forgejo": {"X-Forgejo-Event": "push", "X-Gitea-Event": "push", "X-GitHub-Event": "push"},
}


def signed(forge: str, body: bytes, secret: str) -> dict[str, str]:
    """Return the headers by which FORGE proves that it knows SECRET, as it sends them by default."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "github": {"X-Hub-Signature-256": f"sha256={digest}"},
        "gitlab": {"X-Gitlab-Token": secret},
        "gitea": {"X-Gitea-Signature": digest, "X-Hub-Signature-256": f"sha256={digest}"},
        "forgejo": {"X-Forgejo-Signature": digest, "X-Gitea-Signature": digest},
    }[forge]


def sent(forge: str, secret: str, body: dict[str, object], **headers: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a delivery; HEADERS take the place of others, with ``_`` for ``-``."""
    content = json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"Content-Type": "application/json", **EVENTS[forge], **signed(forge, content, secret), **named}, content


def as_form(secret: str, body: dict[str, object]) -> tuple[dict[str, str], bytes]:
    """Return what GitHub sends where nobody chose JSON: a form, which is what is signed."""
    content = f"payload={quote(json.dumps(body))}".encode()
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        **EVENTS["github"],
        **signed("github", content, secret),
    }, content
