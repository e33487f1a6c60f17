"""Mails handed to a server that speaks SMTP, on loopback."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from runtime.outbound.api import NotReached
from runtime.outbound.connect import client_tls
from runtime.outbound.mail import compose, hand_over


class MailServer:
    """One mail after the other; offers STARTTLS when it has a certificate, and asks for a password when told one."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, password: str = "", refuses: str = "") -> None:
        self.mails: list[str] = []
        self.logins: list[tuple[str, bool]] = []  # what was sent, and whether encrypted
        self._tls, self._password, self._refuses = tls, password, refuses
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self._talk(connection)
                except OSError:
                    pass

    def _talk(self, sock: socket.socket) -> None:
        is_encrypted = False
        file = sock.makefile("rb")
        sock.sendall(b"220 mail.example.com\r\n")
        while line := file.readline().decode().rstrip():
            match line.split(" ")[0].upper():
                case "EHLO":
                    offers = [] if self._tls is None or is_encrypted else ["STARTTLS"]
                    offers += ["AUTH PLAIN"] if self._password else []
                    names = ["mail.example.com", *offers]
                    told = [f"250{' ' if name == names[-1] else '-'}{name}\r\n" for name in names]
                    sock.sendall("".join(told).encode())
                case "STARTTLS":
                    assert self._tls is not None
                    sock.sendall(b"220 go\r\n")
                    sock = self._tls.wrap_socket(sock, server_side=True)
                    file, is_encrypted = sock.makefile("rb"), True
                case "AUTH":
                    self.logins.append((base64.b64decode(line.split(" ")[2]).decode(), is_encrypted))
                    good = self.logins[-1][0].endswith(f"\0{self._password}")
                    sock.sendall(b"235 in\r\n" if good else b"535 no\r\n")
                case "RCPT":
                    sock.sendall(f"550 {self._refuses}\r\n".encode() if self._refuses else b"250 ok\r\n")
                case "DATA":
                    sock.sendall(b"354 go on\r\n")
                    lines = []
                    while (part := file.readline()) not in {b".\r\n", b""}:
                        lines.append(part.decode())
                    self.mails.append("".join(lines))
                    sock.sendall(b"250 taken\r\n")
                case "QUIT":
                    sock.sendall(b"221 bye\r\n")
                    sock.close()
                    return
                case _:
                    sock.sendall(b"250 ok\r\n")


@pytest.fixture
def made() -> Iterator[list[MailServer]]:
    servers: list[MailServer] = []
    yield servers
    for each in servers:
        each.close()


def mail(text: str = "It is live."):
    return compose(sender="paas@example.com", to="bob@example.com", subject="hello: v1", text=text)


def test_a_mail_arrives_as_it_was_written(made):
    made.append(server := MailServer())
    hand_over(f"smtp://localhost:{server.port}", mail("It is live.\n.\nGrüße"), client_tls(None))
    (arrived,) = server.mails
    assert "From: paas@example.com" in arrived
    assert "To: bob@example.com" in arrived
    assert "Auto-Submitted: auto-generated" in arrived


def test_what_is_offered_is_encrypted_before_the_password_is_told(made, tls):
    made.append(server := MailServer(tls[1], password="sesame"))
    hand_over(f"smtp://me:sesame@localhost:{server.port}", mail(), client_tls(tls[0]))
    assert server.logins == [("\0me\0sesame", True)]
    assert len(server.mails) == 1


def test_a_server_with_a_certificate_of_somebody_else_gets_nothing(made, tls):
    made.append(server := MailServer(tls[1], password="sesame"))
    with pytest.raises(NotReached):
        hand_over(f"smtp://me:sesame@localhost:{server.port}", mail(), client_tls(None))
    assert server.logins == []
    assert server.mails == []


def test_a_wrong_password_and_a_refused_address_are_told_in_the_servers_words(made, tls):
    made.append(first := MailServer(tls[1], password="sesame"))
    with pytest.raises(NotReached, match="535 no"):
        hand_over(f"smtp://me:wrong@localhost:{first.port}", mail(), client_tls(tls[0]))
    made.append(second := MailServer(refuses="no such mailbox"))
    with pytest.raises(NotReached, match="no such mailbox"):
        hand_over(f"smtp://localhost:{second.port}", mail(), client_tls(None))


def test_nobody_there_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotReached) as caught:
        hand_over(f"smtp://localhost:{port}", mail(), client_tls(None))
    assert caught.value.id == "mail_not_taken"


def test_no_header_can_be_slipped_in():
    with pytest.raises(ValueError, match=r".+"):
        compose(sender="a@example.com", to="b@example.com\nBcc: c@example.com", subject="s", text="t")
