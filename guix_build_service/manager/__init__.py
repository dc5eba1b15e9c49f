"""What people can ask of the service, and who may do what of it; the web asks `guix_build_service.manager.manager` alone."""
