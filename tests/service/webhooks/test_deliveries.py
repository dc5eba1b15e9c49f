"""What forges send, read: whose proof counts, and what was pushed where."""

import base64
import hmac
import json

import pytest
from tornado.httputil import HTTPHeaders

from guix_build_service.webhooks.deliveries import Delivery, Forge, checked_secret, new_secret
from guix_build_service.webhooks.pushes import Push, push_of
from guix_environment.errors import InvalidInput
from guix_environment.repository_url import RepositoryUrl
from tests.service.webhooks.deliveries import BODIES, ZEROS, as_form, of_github, of_gitlab, sent

REPOSITORY = "https://git.example/ada/plots"
SECRET = "a-secret-of-ours-that-nobody-knows"


def delivery(forge: str, headers: dict[str, str], body: bytes) -> Delivery:
    return Delivery(Forge(forge), HTTPHeaders(headers), body)


def pushed(forge: str, body: dict[str, object], **headers: str) -> Push | None:
    return push_of(delivery(forge, *sent(forge, SECRET, body, **headers)))


def test_the_example_in_githubs_documentation_is_proved() -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    example = delivery("github", {"X-Hub-Signature-256": signature}, b"Hello, World!")
    assert example.is_proved_by("It's a Secret to Everybody")
    assert not example.is_proved_by("It's a Secret to everybody")


@pytest.mark.parametrize("forge", Forge)
def test_the_right_secret_alone_is_a_proof(forge: Forge) -> None:
    headers, body = sent(forge, SECRET, BODIES[forge](REPOSITORY))
    assert delivery(forge, headers, body).is_proved_by(SECRET)
    assert not delivery(forge, headers, body).is_proved_by(SECRET + "x")
    assert not delivery(forge, {}, body).is_proved_by(SECRET)
    assert not delivery(forge, dict.fromkeys(headers, ""), body).is_proved_by(SECRET)
    assert not delivery(forge, dict.fromkeys(headers, "ü\N{SNOWMAN}"), body).is_proved_by(SECRET)
    if forge is not Forge.GITLAB:  # which by default signs nothing
        assert not delivery(forge, headers, body + b" ").is_proved_by(SECRET)


def test_gitlab_signs_as_standard_webhooks_has_it() -> None:
    # The example of the specification's own libraries.
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    right = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    headers = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330"}
    assert delivery("gitlab", headers | {"webhook-signature": f"v1,{'A' * 43}= {right}"}, body).is_proved_by(secret)
    for changed in ({"webhook-id": "msg_1"}, {"webhook-timestamp": "1614265331"}, {"webhook-signature": f"v2,{right[3:]}"}):
        assert not delivery("gitlab", headers | {"webhook-signature": right} | changed, body).is_proved_by(secret)
    assert not delivery("gitlab", headers | {"webhook-signature": right}, body + b" ").is_proved_by(secret)
    assert not delivery("gitlab", headers | {"webhook-signature": right}, body).is_proved_by("no base64 of anything")


def test_a_secret_that_is_no_signing_token_signs_nothing() -> None:
    body, about = b"{}", {"webhook-id": "a", "webhook-timestamp": "1"}
    for key in (b"", SECRET.encode()):
        signed = base64.b64encode(hmac.digest(key, b"a.1." + body, "sha256")).decode()
        assert not delivery("gitlab", about | {"webhook-signature": f"v1,{signed}"}, body).is_proved_by(SECRET)


def test_a_secret_that_is_made_is_one_that_every_forge_takes() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    for secret in secrets:
        assert checked_secret(secret) == secret
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    for refused in ("", "short", "x" * 201, "sixteen letters\n", "with a space in it", "sixteen-letters-ü"):
        with pytest.raises(InvalidInput):
            checked_secret(refused)


@pytest.mark.parametrize("forge", Forge)
def test_what_was_pushed_is_read(forge: Forge) -> None:
    push = pushed(forge, BODIES[forge](REPOSITORY))
    assert push is not None
    for spelling in (REPOSITORY, f"{REPOSITORY}.git", "https://git.example/Ada/Plots", "http://git.example:3000/ada/plots"):
        assert push.is_of(RepositoryUrl.parse(spelling))
    for other in ("https://git.example/ada/plot", "https://git.example/ada/plots/more", "https://other.example/ada/plots"):
        assert not push.is_of(RepositoryUrl.parse(other))
    assert [ref for ref in ("", "main", "refs/heads/main", "other", "HEAD", "refs/tags/main") if push.moves(ref)] == [
        "",
        "main",
        "refs/heads/main",
    ]
    other_branch = pushed(forge, BODIES[forge](REPOSITORY, "refs/heads/other/main"))
    assert other_branch is not None
    assert not other_branch.moves("")
    assert not other_branch.moves("main")
    gone = pushed(forge, BODIES[forge](REPOSITORY, after=ZEROS))
    assert gone is not None
    assert not gone.moves("main")


def test_a_tag_is_followed_as_well() -> None:
    tag = pushed(
        "gitlab", {**of_gitlab(REPOSITORY, "refs/tags/v1"), "object_kind": "tag_push"}, X_Gitlab_Event="Tag Push Hook"
    )
    assert tag is not None
    assert tag.moves("v1")
    assert not tag.moves("")


def test_github_may_send_a_form() -> None:
    headers, body = as_form(SECRET, of_github(REPOSITORY))
    assert delivery("github", headers, body).is_proved_by(SECRET)
    push = push_of(delivery("github", headers, body))
    assert push is not None
    assert push.moves("main")


def test_what_is_no_push_is_let_be() -> None:
    assert pushed("github", {"zen": "Design for failure.", "hook_id": 1}, X_GitHub_Event="ping") is None
    assert pushed("gitlab", {}, X_Gitlab_Event="Issue Hook") is None
    assert pushed("gitea", {}, X_Gitea_Event="create") is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"ref": 1}', b'{"ref": "refs/heads/main", "repository": 3}', b"\xff", b"[" * 100_000],
)
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        push_of(delivery("github", {"X-GitHub-Event": "push", "Content-Type": "application/json"}, body))
    with pytest.raises(InvalidInput):
        push_of(delivery("github", as_form(SECRET, {})[0], b"payload=" + body + b"&a=1" * 20))


@pytest.mark.parametrize(
    ("forge", "address"),
    [
        ("github", "git@github.com:Codertocat/plots"),
        ("gitlab", "git@example.com:mike/diaspora.git"),
        ("gitea", "ssh://gitea@localhost:2222/gitea/webhooks"),
        ("forgejo", "ssh://gitea@localhost:2222/gitea/webhooks"),
    ],
)
def test_a_push_is_also_one_of_the_repository_that_is_read_over_ssh(forge: str, address: str) -> None:
    push = pushed(forge, BODIES[forge](REPOSITORY))
    assert push is not None
    assert push.is_of(RepositoryUrl.parse(address))
    assert not push.is_of(RepositoryUrl.parse(f"{address}-of-others"))


def test_a_push_names_no_repository_by_an_address_that_is_none() -> None:
    body = json.loads(json.dumps(of_github(REPOSITORY)))
    body["repository"] = {
        "clone_url": "git@-oProxyCommand=x:a/b.git",
        "html_url": "javascript:alert(1)",
        "default_branch": None,
    }
    push = pushed("github", body)
    assert push is not None
    assert push.repositories == ()
