"""What opens private repositories: kept encrypted, and lent to one Git command at a time.

`keys` are where the key comes from, `envelope` is how a secret is sealed, `loans` is how Git gets one, `vault` is all of
that over the store.
"""
