"""What rows that hold a sealed secret have in common."""

from sqlalchemy import Connection, Delete, RowMapping

from guix_build_service.credentials.envelope import Sealed
from guix_build_service.logs.audit import Deed
from guix_build_service.store import audit


def sealed_values(sealed: Sealed) -> dict[str, object]:
    """Return SEALED as the columns of a row."""
    return {"key": sealed.key, "nonce": sealed.nonce, "content": sealed.content}


def sealed_of(row: RowMapping) -> Sealed:
    """Return what is sealed in ROW."""
    return Sealed(row["key"], row["nonce"], row["content"])


def forget(connection: Connection, query: Delete, deed: Deed) -> bool:
    """Delete what QUERY finds, and tell of it by DEED; return whether there was anything."""
    removed = connection.execute(query).rowcount > 0
    if removed:
        audit.note(connection, deed)
    return removed
