"""The API's JSON, both ways: what requests may hold and what answers hold.  OpenAPI is generated from these classes."""
