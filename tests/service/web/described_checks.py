"""What Schemathesis looks for beside its own checks; loaded by it, as its settings say."""

import json

import schemathesis
from schemathesis import CheckContext, Response


@schemathesis.check
def no_refusal_is_called_a_success(_context: CheckContext, response: Response, _case: object) -> None:
    """An answer below 400 holds no refusal, and one above holds nothing else."""
    media_type = response.headers.get("content-type", [""])[0].partition(";")[0]
    content = json.loads(response.content) if media_type == "application/json" else None
    refused = isinstance(content, dict) and isinstance(content.get("error"), dict) and content.keys() == {"error"}
    assert refused == (response.status_code >= 400 and not _is_health(content)), (response.status_code, content)


def _is_health(content: object) -> bool:
    return isinstance(content, dict) and content.get("status") == "failing"
