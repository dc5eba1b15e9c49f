"""The service's database: the only place that speaks SQL.

`Store` is what the rest of the service uses, one transaction a method, in the one thread of `database`; what happens in
them stands in `environment_changes`, `build_changes`, `line`, `lists`.  `tables` says what there is, `rows` turns rows into
the values of `guix_build_service.model.environments`, and `migrations` bring a database of an older release up to date.
"""

from guix_build_service.store.build_changes import Finished, Joined
from guix_build_service.store.environment_changes import Removal
from guix_build_service.store.store import Store

__all__ = ["Finished", "Joined", "Removal", "Store"]
