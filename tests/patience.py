"""How long a test waits for what must come: nothing that works takes so long, however busy the machine is."""

PATIENCE_SECONDS = 600.0
