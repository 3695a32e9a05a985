"""The page *Attacks*: what attackers prove, against what is promised."""
