"""Hand a mail to a server that the operator has named."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import unquote, urlsplit

from runtime.outbound.api import NotReached

SECONDS = 20.0


def compose(*, sender: str, to: str, subject: str, text: str) -> EmailMessage:
    """Raises `ValueError` for an address or a subject that would make a header of its own."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("> ") or None)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message


def hand_over(url: str, message: EmailMessage, tls: ssl.SSLContext) -> None:
    """smtps:// is encrypted from the start, smtp:// as soon as the server offers it. A password is sent encrypted or not
    at all, except on this machine. Raises `NotReached`."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    try:
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, parts.port or 465, timeout=SECONDS, context=tls)
        else:
            server = smtplib.SMTP(host, parts.port or 25, timeout=SECONDS)
        with server:
            server.ehlo()
            is_encrypted = parts.scheme == "smtps"
            if not is_encrypted and server.has_extn("starttls"):
                server.starttls(context=tls)
                server.ehlo()
                is_encrypted = True
            if parts.username:
                if not is_encrypted and host not in {"localhost", "127.0.0.1", "::1"}:
                    raise NotReached(
                        f"The mail server {host} does not offer encryption, so it is not given the password.",
                        id="mail_not_encrypted",
                    )
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as exc:
        if isinstance(exc, smtplib.SMTPResponseException):
            told = exc.smtp_error.decode(errors="replace") if isinstance(exc.smtp_error, bytes) else exc.smtp_error
            words = f"{exc.smtp_code} {told}"
        elif isinstance(exc, smtplib.SMTPRecipientsRefused):
            words = "; ".join(f"{code} {said.decode(errors='replace')}" for code, said in exc.recipients.values())
        else:
            words = str(exc)
        raise NotReached(f"The mail server {host} did not take it: {words[:200]}", id="mail_not_taken") from exc
