"""The names and addresses under which callers may know this machine, found without asking any network.

A page of a hostile web site can make its own host name point at 127.0.0.1 (DNS rebinding) and then speak to a local
server. What it cannot do is choose the `Host` header: a server that answers only to its own names is safe from that.
"""

from __future__ import annotations

import ipaddress
import platform
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_MOST_LINES = 20_000


def names_of_this_machine() -> frozenset[str]:
    """Every name and address by which this machine knows itself; nothing is resolved over the network.

    On Linux the interface addresses come from `/proc/net`, the names from `/etc/hosts` and the search domains of
    `/etc/resolv.conf`. Elsewhere only the machine's name is found here: the guard also accepts the very address
    that a connection came in on.
    """
    addresses = frozenset({*LOOPBACK_NAMES, *_ipv4_addresses(), *_ipv6_addresses()})
    name = platform.node().rstrip(".").casefold()
    short = name.partition(".")[0]
    names = {name, short, f"{short}.local"} if short else set()
    names.update(f"{short}.{domain}" for domain in _search_domains() if short)
    names.update(_names_in_hosts_file(addresses))
    return frozenset({*addresses, *names} - {""})


@lru_cache(maxsize=256)  # each request names the server, mostly by the same few names
def canonical_address(text: str) -> str:
    """An IP address in its one spelling, or the text itself, lower-cased, when it is none.

    Args:
        text: a host without port and without brackets.
    """
    bare = text.partition("%")[0].rstrip(".").casefold()
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()[:_MOST_LINES]
    except OSError:
        return []


def _ipv4_addresses() -> set[str]:
    return addresses_in_fib_trie(_lines("/proc/net/fib_trie"))


def addresses_in_fib_trie(lines: Iterable[str]) -> set[str]:
    """The addresses that the kernel's routing table calls its own (`/32 host LOCAL`)."""
    found: set[str] = set()
    latest = ""
    for line in lines:
        stripped = line.strip()
        if stripped.startswith("|-- "):
            latest = stripped[4:]
        elif stripped == "/32 host LOCAL" and latest:
            found.add(latest)
    return found


def _ipv6_addresses() -> set[str]:
    found: set[str] = set()
    for line in _lines("/proc/net/if_inet6"):
        digits = line.partition(" ")[0]
        if len(digits) == 32:
            found.add(str(ipaddress.IPv6Address(bytes.fromhex(digits))))
    return found


def _search_domains() -> set[str]:
    found: set[str] = set()
    for line in _lines("/etc/resolv.conf"):
        word, *domains = line.split() or [""]
        if word in {"search", "domain"}:
            found.update(domain.strip(".").casefold() for domain in domains)
    return found - {""}


def _names_in_hosts_file(addresses: frozenset[str]) -> set[str]:
    found: set[str] = set()
    for line in _lines("/etc/hosts"):
        address, *names = line.partition("#")[0].split() or [""]
        if canonical_address(address) in addresses:
            found.update(name.rstrip(".").casefold() for name in names)
    return found
