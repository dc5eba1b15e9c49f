"""From a repository's address to a version that sessions start from, one module a step.

``resolve`` finds the commit, ``fetch`` brings it here, ``read`` finds out which packages it asks for, ``build`` has Guix
make a profile of them, and ``publish`` writes the environment record.  `guix_build_service.pipeline.pipeline` runs them in
order.  No step knows of the database, the web or the hub.
"""
