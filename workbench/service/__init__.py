"""The live service, framework-free: what arrives, what is closed, what is published."""

from workbench.service.days import Activity, Status, Truth
from workbench.service.errors import Refused, StoreError, bad_events, budget_advice, unavailable
from workbench.service.folding import Count
from workbench.service.opening import open_service
from workbench.service.operations import ADD, ERASE, RETRACT, Ingested, Operation
from workbench.service.promise import promise_of_all
from workbench.service.renewal import horizon_advice
from workbench.service.service import Service
from workbench.service.setting_checks import validated
from workbench.service.setting_sources import load_settings, settings_text
from workbench.service.settings import Settings, SettingsError
from workbench.service.undated import UndatedDay

__all__ = [
    "ADD", "ERASE", "RETRACT", "Activity", "Count", "Ingested", "Operation", "Refused", "Service", "Settings",
    "SettingsError", "Status", "StoreError", "Truth", "UndatedDay", "bad_events", "budget_advice", "horizon_advice",
    "load_settings", "open_service", "promise_of_all", "settings_text", "unavailable", "validated",
]  # fmt: skip
