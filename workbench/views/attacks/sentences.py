"""What an attack shows, in one plain sentence."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.kinds.attacks.readings import over_limit
from workbench.rows import TableRow
from workbench.views.attacks.wording import LIKELIHOOD_RATIO, SERVICE


def bound_sentence(rows: Sequence[TableRow]) -> tuple[str, bool]:
    """What the lower bounds say by the newest trials, and whether the promise is broken."""
    newest = {row["test"]: row for row in rows}
    worst = max(newest.values(), key=lambda row: (row["broken"], row["measured"] / row["claimed"]))
    trials, claimed = f"{worst['trials']:,}", f"{worst['claimed']:.3g}"
    if not worst["broken"]:
        if worst["measured"] > worst["claimed"]:
            return (
                f"**Holds:** from {trials} trials the attacker proves ε {worst['measured']:.3g} where {claimed} is "
                "promised, which chance explains.",
                False,
            )
        return (
            f"**Holds:** from {trials} trials the attacker proves only ε {worst['measured']:.3g} "
            f"where {claimed} is promised.",
            False,
        )
    if worst["measured"] > worst["claimed"]:
        return (
            f"**Broken:** the attacker proves at least ε {worst['measured']:.3g} where {claimed} is promised, "
            f"from {trials} trials.",
            True,
        )
    return (
        f"**Broken:** the attacker proves at least μ {worst['mu']:.3g} where ε {claimed} stands for "
        f"{worst['claimed_mu']:.3g}, from {trials} trials.",
        True,
    )


def reading_sentence(rows: Sequence[TableRow]) -> tuple[str, bool]:
    """What the readings say, and whether the promise is broken."""
    claimed = [row for row in rows if row["allowed"] is not None]
    broken = [row for row in claimed if row["broken"]]
    if not broken:
        return f"**Holds:** all {len(claimed)} readings are within what is allowed.", False
    worst = max(broken, key=lambda row: over_limit(row["measured"], row["allowed"]))
    return (
        f"**Broken:** {len(broken)} of {len(claimed)} readings exceed what is allowed. Worst: {worst['what']}, "
        f"{worst['measured']:,.3g} where {worst['allowed']:,.3g} is allowed.",
        True,
    )


def threat_of(attack: str) -> str:
    """Who attacks, and when they win."""
    if attack == LIKELIHOOD_RATIO:
        return (
            "Somebody who knows all but one user's activity sees the released numbers and guesses whether that user is "
            "in. They win if their rates of right and wrong guesses prove a larger ε than is promised."
        )
    if attack == SERVICE:
        from workbench.attacks import service as module

        return " ".join((module.__doc__ or "").split())
    from dp.auditing.attacks import ATTACKS

    return ATTACKS[attack].threat
