"""The pages of the reference that are written from the code, a module a page."""
