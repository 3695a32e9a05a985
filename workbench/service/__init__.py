"""The live service, framework-free: what arrives, what is closed, what is published."""

from workbench.service.service import (
    Activity,
    Refused,
    Service,
    Status,
    Truth,
    bad_events,
    open_service,
    promise_of_all,
)
from workbench.service.settings import Settings, SettingsError, load_settings, settings_text
from workbench.service.store import ADD, ERASE, RETRACT, Count, Ingested, Operation, StoreError

__all__ = [
    "ADD", "ERASE", "RETRACT", "Activity", "Count", "Ingested", "Operation", "Refused", "Service", "Settings",
    "SettingsError", "Status", "StoreError", "Truth", "bad_events", "load_settings", "open_service",
    "promise_of_all", "settings_text",
]  # fmt: skip
