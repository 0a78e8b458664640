"""Checks of host names, origins and request headers that a configuration names; each raises ValueError in words."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

MAX_HOST = 253

_HOST = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_TEXT = re.compile(r"[\x20-\x7e]{1,8192}")
# the client sets these itself; a second one would split or break the request
_OWN_HEADERS = {"connection", "content-length", "content-type", "host", "transfer-encoding", "upgrade"}


def is_loopback(host: str) -> bool:
    """Whether a server that listens on this address can be reached from this machine only.

    Args:
        host: a name or an IP address, as in the configuration; IPv6 with or without brackets.

    Returns:
        True for loopback; False for every other address, for "all addresses" and for names that are not localhost.
    """
    bare = host.strip().strip("[]").rstrip(".").casefold()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(bare.partition("%")[0]).is_loopback
    except ValueError:
        return False


def check_host(value: str) -> str:
    """Take a host name or IP address as it stands, an IPv6 address also in brackets.

    Returns:
        The host without brackets and outer spaces.

    Raises:
        ValueError: it carries a scheme, port or path, or is no host.
    """
    text = value.strip()
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if _is_address(host):
        return host
    if "://" in text:
        raise ValueError("write the host alone; scheme and port have keys of their own")
    if "/" in text or "@" in text:
        raise ValueError("write the host alone, without a path or a user")
    name, colon, port = text.rpartition(":")
    if colon and port.isdigit() and _is_host(name.strip("[]")):
        raise ValueError(f"write the host alone, {name}, and the port under the key port")
    if not _is_host(host):
        raise ValueError("a host name or IP address is needed, such as 192.168.1.100 or render1.local")
    return host


def check_allowed_host(value: str) -> str:
    """Take a host, or `host:port`, in lower case.

    Raises:
        ValueError: it is neither.
    """
    name, colon, port = value.strip().rpartition(":")
    if colon and port.isdigit() and int(port) <= 65535 and _is_host(name.strip("[]")):
        return f"{name}:{port}".lower()
    return check_host(value).lower()


def check_origin(value: str) -> str:
    """Take the origin of a web page: scheme, host and, if it is not the usual one, port.

    Raises:
        ValueError: it is no origin, or `*`, which would open the API to every page that a browser here shows.
    """
    if value.strip() == "*":
        raise ValueError("* would let every web page use this server; list the origins")
    parts = _split_url(value)
    if parts[2] not in ("", "/"):
        raise ValueError("an origin has no path, such as http://localhost:3000")
    return f"{parts[0]}://{parts[1]}"


def check_public_url(value: str | None) -> str | None:
    """Take the address under which callers reach the server; without the slash at its end.

    Raises:
        ValueError: it is no http or https address, or carries a user, query or fragment.
    """
    if value is None:
        return None
    scheme, host, path = _split_url(value)
    return f"{scheme}://{host}{path.rstrip('/')}"


def check_headers(headers: Mapping[str, str]) -> None:
    """See that these may be sent with every request.

    Raises:
        ValueError: a name or text would break a request, or belongs to the client. The text is not told.
    """
    for name, text in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name[:60]!r} cannot be the name of a header")
        if name.lower() in _OWN_HEADERS or name.lower().startswith("sec-websocket-"):
            raise ValueError(f"the header {name} is set by the orchestrator itself")
        if not _HEADER_TEXT.fullmatch(text):
            raise ValueError(f"the text of the header {name} must be 1 to 8192 plain ASCII characters on one line")


def _split_url(value: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(value.strip())
        port = parts.port
    except ValueError:
        raise ValueError("this is no web address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address with http:// or https:// is needed, such as http://studio.local:9800")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("an address without user, password, query and fragment is needed")
    if not _is_host(parts.hostname):
        raise ValueError(f"{parts.hostname[:60]!r} is no host name or IP address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts.scheme, host if port is None else f"{host}:{port}", parts.path


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _is_host(text: str) -> bool:
    if _is_address(text):
        return True
    # a last label of digits makes it an IPv4 address, and this is none
    return len(text) <= MAX_HOST and bool(_HOST.fullmatch(text)) and not text.rpartition(".")[2].isdigit()
