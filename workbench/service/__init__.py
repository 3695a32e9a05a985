"""The live service, framework-free: what arrives, what is closed, what is published."""

from workbench.service.service import Activity, Refused, Service, Status, Truth, open_service
from workbench.service.settings import Settings, SettingsError, load_settings
from workbench.service.store import ADD, ERASE, RETRACT, Count, Ingested, Operation, StoreError

__all__ = [
    "ADD", "ERASE", "RETRACT", "Activity", "Count", "Ingested", "Operation", "Refused", "Service", "Settings",
    "SettingsError", "Status", "StoreError", "Truth", "load_settings", "open_service",
]  # fmt: skip
