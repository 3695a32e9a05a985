"""A log of the visitor's own: uploaded, or named by its path where the app is for this machine alone.

An upload lies in a temporary folder of the process until the visitor gives another one, takes it away or leaves.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import streamlit as st

from dp.log import fingerprint
from workbench.views.given_log import NAMED, GivenLog, column_names, is_log_name
from workbench.views.text import literal

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

MOST_MEGABYTES = 200
PROXY_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-Ip")


@st.cache_resource(show_spinner=False, on_release=lambda folder: shutil.rmtree(folder, ignore_errors=True))
def visitors_folder() -> Path:
    """The process's folder for what visitors give."""
    return Path(tempfile.mkdtemp(prefix="dpdau-visitors-"))


@st.cache_resource(
    show_spinner=False, scope="session", on_release=lambda folder: shutil.rmtree(folder, ignore_errors=True)
)
def _own_folder() -> Path:
    """This visitor's folder, which goes when the visitor goes."""
    folder = visitors_folder() / str(uuid4())
    folder.mkdir(mode=0o700)
    return folder


def for_this_machine_alone() -> bool:
    """Whether nobody but this machine can see the page: the service has no key, so its guard lets nobody else in."""
    told = st.secrets.load_if_toml_exists() and "dpdau" in st.secrets and st.secrets["dpdau"].get("alone") is True
    return bool(told) and not any(header in st.context.headers for header in PROXY_HEADERS)


def draw_log_choice() -> GivenLog | None:
    """Draw the fields and return the log; None as long as there is none, and the page says what is missing."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="top"):
        upload = st.file_uploader(
            "Log (CSV, JSON Lines or Parquet)", key="own-log", max_upload_size=MOST_MEGABYTES, width=300,
            help="Columns user and day or timestamp; op and at where activity is taken back or arrives late. The file "
            "is kept in a temporary folder while you are here, and nowhere else.",
        )  # fmt: skip
        named = ""
        if for_this_machine_alone():
            named = st.text_input(
                "or its path on this machine", key="own-log-path", width=300, persist_state="session",
                help="Offered because this service has no key and answers this machine alone.",
            ).strip()  # fmt: skip
        columns = st.text_input(
            "Columns, if they are named otherwise", key="own-log-columns", width=300, persist_state="session",
            placeholder="user=CustomerID, timestamp=InvoiceDate",
        )  # fmt: skip
    try:
        written = ",".join(f"{ours}={theirs}" for ours, theirs in column_names(columns).items())
        if upload is not None:
            kept = _kept_upload(upload)
        elif named:
            kept = link_file(_own_folder(), named)
        else:
            _clear(_own_folder())
            st.info("Give a log to see its error here. Nothing of it is published and no budget is spent.")
            return None
    except ValueError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return None
    return GivenLog(kept.file, kept.sha256, written)


def _kept_upload(upload: UploadedFile) -> GivenLog:
    """The upload, kept when it is first seen."""
    seen: tuple[str, GivenLog] | None = st.session_state.get("own-log-kept")
    if seen is None or seen[0] != upload.file_id or not any(_own_folder().glob(f"{seen[1].sha256}/*")):
        seen = (upload.file_id, keep_upload(_own_folder(), upload.name, upload.getvalue()))
        st.session_state["own-log-kept"] = seen
    return seen[1]


def keep_upload(folder: Path, name: str, content: bytes) -> GivenLog:
    """Keep an upload in place of what the folder holds.

    Raises:
        ValueError: its name is not that of a log.
    """
    if not is_log_name(name):
        raise ValueError(f"The file is called {name!r}; give {NAMED}")
    given = GivenLog(name, hashlib.sha256(content).hexdigest())
    place = folder / given.sha256 / name
    if not place.exists():
        _clear(folder)
        place.parent.mkdir(mode=0o700)
        place.write_bytes(content)
    return given


def link_file(folder: Path, path: str) -> GivenLog:
    """Keep a link to a file of this machine in place of what the folder holds.

    Raises:
        ValueError: there is no such file, it cannot be read, or its name is not that of a log: all in the same words,
            so that they do not say which files there are.
    """
    found = Path(path).expanduser()
    try:
        if not is_log_name(found.name) or not found.is_file():
            raise FileNotFoundError(path)
        status = found.stat()
        digest = _digest(str(found.resolve()), status.st_size, status.st_mtime_ns)
    except (OSError, RuntimeError, ValueError):
        raise ValueError(f"There is no log that can be read at {path}; give the path of a file: {NAMED}") from None
    place = folder / digest / found.name
    if not place.is_symlink():
        _clear(folder)
        place.parent.mkdir(mode=0o700)
        place.symlink_to(found.resolve())
    return GivenLog(found.name, digest)


@st.cache_data(show_spinner=False, max_entries=8)
def _digest(path: str, size: int, changed: int) -> str:
    """SHA-256 of a file, remembered until its size or its time changes."""
    return fingerprint(path)


def _clear(folder: Path) -> None:
    for old in folder.iterdir():
        shutil.rmtree(old, ignore_errors=True)
