"""What people do with the service from a command line, by way of its API alone.

Nothing here knows the service's database or what is in its folders: a person's token decides what they may do, here as in a
browser. On the service's own machine the account does, which the API is told by the kernel.
"""
