"""The HTTP face of the service."""

from workbench.api.app import create_app

__all__ = ["create_app"]
