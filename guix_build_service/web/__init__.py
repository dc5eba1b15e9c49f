"""The service's face: its REST API, its event streams and its pages.

Everything here speaks HTTP and asks the manager; nothing here knows of the database, of Git or of Guix.
"""
