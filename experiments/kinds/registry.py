"""All kinds of experiments: one line a kind."""

from __future__ import annotations

from experiments.engine.config import ExperimentConfig
from experiments.kinds.accountants.config import AccountantConfig
from experiments.kinds.attacks.config import AttackConfig
from experiments.kinds.audit.config import AuditConfig
from experiments.kinds.coverage.config import CoverageConfig
from experiments.kinds.mechanisms.config import MechanismConfig
from experiments.kinds.published.config import PublishedConfig
from experiments.kinds.questions.config import QuestionConfig
from experiments.kinds.sketches.config import SketchConfig

_CONFIGS: tuple[type[ExperimentConfig], ...] = (
    MechanismConfig,
    SketchConfig,
    CoverageConfig,
    AccountantConfig,
    PublishedConfig,
    AuditConfig,
    AttackConfig,
    QuestionConfig,
)

KINDS: dict[str, type[ExperimentConfig]] = {config.kind.name: config for config in _CONFIGS}
"""The type of a config by its key `kind`. The type's own attribute `kind` says how the engine runs it."""

DEFAULT = MechanismConfig.kind.name
"""The kind of a config without the key."""
