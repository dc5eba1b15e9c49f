"""The service's database: the only place that speaks SQL.

`Store` is what the rest of the service uses; `tables` says what there is, `rows` turns rows into the values of
`guix_build_service.model`, and `migrations` bring a database of an older release up to date.
"""

from guix_build_service.store.store import Finished, Joined, Removal, Store

__all__ = ["Finished", "Joined", "Removal", "Store"]
