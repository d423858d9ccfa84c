"""docs/how-to/mail-server.md with a real Dovecot on loopback: what changes there changes here."""

import imaplib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from customir.corpus.ingest import IngestSummary

from .messages import mail

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "mail-server.md"
DOVECOT = shutil.which("dovecot") or "/usr/sbin/dovecot"
MBSYNC = shutil.which("mbsync")
USER, PASSWORD = "ada", "secret"

Ingest = Callable[..., IngestSummary]
Rows = Callable[..., list[tuple[object, ...]]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(DOVECOT).exists(), reason="Dovecot is not installed"),
    pytest.mark.skipif(MBSYNC is None, reason="isync (mbsync) is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot's login processes change their user"),
]


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder with a short path: that of a Unix socket, of which Dovecot has some, ends at 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="dovecot-") as folder:
        yield Path(folder)


@pytest.fixture
def port(root: Path) -> Iterator[int]:
    """A Dovecot with an empty account."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    # Dovecot serves no mail as root.
    nobody = pwd.getpwnam("nobody")
    (root / "mail").mkdir()
    os.chown(root / "mail", nobody.pw_uid, nobody.pw_gid)
    for above in (root, *root.parents):  # its login processes run as other users
        if above != Path("/") and not above.stat().st_mode & 1:
            above.chmod(above.stat().st_mode | 0o11)
    (root / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    (root / "dovecot.conf").write_text(
        f"""
        base_dir = {root}/run
        state_dir = {root}/state
        log_path = {root}/log
        protocols = imap
        listen = 127.0.0.1
        ssl = no
        disable_plaintext_auth = no
        mail_location = maildir:{root}/mail
        passdb {{
          driver = passwd-file
          args = {root}/users
        }}
        userdb {{
          driver = static
          args = uid={nobody.pw_uid} gid={nobody.pw_gid} home={root}/mail
        }}
        service imap-login {{
          chroot =
          inet_listener imap {{
            port = {number}
          }}
          inet_listener imaps {{
            port = 0
          }}
        }}
        service anvil {{
          chroot =
        }}
        """
    )
    server = subprocess.Popen([DOVECOT, "-F", "-c", str(root / "dovecot.conf")])
    try:
        for _ in range(100):
            try:
                with socket.create_connection(("127.0.0.1", number), 1) as connection:
                    assert connection.recv(4) == b"* OK"
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail((root / "log").read_text() if (root / "log").exists() else "no Dovecot")
        yield number
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def test_new_changed_and_deleted_messages_arrive_as_such(
    port: int, tmp_path: Path, read_in: Ingest, rows: Rows
) -> None:
    (tmp_path / "mbsyncrc").write_text(configuration(port, tmp_path / "mail"))
    (tmp_path / "mail").mkdir()

    def sync() -> IngestSummary:
        command = [str(MBSYNC), "-q", "-c", str(tmp_path / "mbsyncrc"), "work"]
        subprocess.run(command, check=True, timeout=60, env={**os.environ, "HOME": str(tmp_path)})
        return read_in(tmp_path / "mail")

    with imaplib.IMAP4("127.0.0.1", port) as server:
        server.login(USER, PASSWORD)
        server.create("Projects")
        for number in range(6):
            folder = "INBOX" if number < 4 else "Projects"
            server.append(folder, None, None, message(number))  # type: ignore[arg-type]
        first = sync()
        assert (first.kept, first.new, first.changed, first.removed) == (6, 6, 0, 0)
        again = sync()
        assert (again.kept, again.new, again.changed, again.removed) == (6, 0, 0, 0)

        server.append("INBOX", None, None, message(6))  # type: ignore[arg-type]
        # A draft that is edited: another message with the same Message-ID.
        delete(server, "INBOX", 0)
        server.append("INBOX", None, None, message(0, "It turns again."))  # type: ignore[arg-type]
        delete(server, "INBOX", 1)
        server.select("INBOX")
        server.store("1", "+FLAGS", r"(\Seen)")
        second = sync()
        assert (second.kept, second.new, second.changed, second.removed) == (6, 1, 1, 1)

        # Moved to another folder: the same content, so the same document.
        server.copy("1", "Projects")
        server.store("1", "+FLAGS", r"(\Deleted)")
        server.expunge()
        third = sync()
        assert (third.kept, third.removed) == (6, third.new)
    texts = {str(text) for (text,) in rows("SELECT text FROM document")}
    assert any("It turns again." in text for text in texts)
    assert not any("Mill 1 " in text for text in texts)


def configuration(port: int, folder: Path) -> str:
    """The how-to's .mbsyncrc, for this account."""
    text = HOW_TO.read_text("utf-8").partition("```ini\n")[2].partition("```")[0]
    replaced = {
        "imap.example.org": f"127.0.0.1\nPort {port}",
        "ada@example.org": USER,
        'PassCmd "secret-tool lookup imap work"': f"Pass {PASSWORD}",
        "TLSType IMAPS": "SSLType None\nAuthMechs LOGIN",
        "~/mail": str(folder),
    }
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return text


def message(number: int, text: str = "It turns.") -> bytes:
    return mail(
        f"Mill {number} stands by the river. {text}".encode(),
        message_id=f"<{number}@x>",
        subject=f"Mill {number}",
    )


def delete(server: imaplib.IMAP4, folder: str, number: int) -> None:
    server.select(folder)
    _, (found,) = server.search(None, "HEADER", "Message-ID", f"<{number}@x>")
    server.store(found.decode(), "+FLAGS", r"(\Deleted)")
    server.expunge()
