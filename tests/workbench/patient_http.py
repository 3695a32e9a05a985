"""Calls of a server that may take as long as a busy machine needs: the client's own limit is five seconds."""

from __future__ import annotations

from functools import partial

import httpx2

from tests.patience import PATIENCE_SECONDS

get = partial(httpx2.get, timeout=PATIENCE_SECONDS)
post = partial(httpx2.post, timeout=PATIENCE_SECONDS)
