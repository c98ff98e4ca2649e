"""Recordings from addresses: only https, only hosts that the operator allowed, never a private address.

An address is parsed once; what was parsed is checked and fetched. The name is resolved once and the connection is made
to the address that was checked, so that a second answer of the name server changes nothing. Redirects are refused.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from alm.errors import AudioError

Resolver = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class Fetcher:
    """Fetches from `hosts`; with none, nothing is fetched."""

    hosts: frozenset[str] = frozenset()
    seconds: float = 20.0
    """For the whole of one recording."""
    resolver: Resolver = resolve
    transport: httpx.BaseTransport | None = None
    """How it is connected; httpx's own way if None."""

    def get(self, url: str, most_bytes: int) -> bytes:
        """Content of an address.

        Raises:
            AudioError: the address is not allowed, cannot be reached in time, or holds too much.
        """
        shown = url[:200]
        if not self.hosts:
            raise AudioError("addresses are not fetched by this server; send the recording as input_audio")
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise AudioError(f"{shown!r} is no address") from None
        if parsed.scheme != "https" or parsed.userinfo or parsed.port not in (None, 443):
            raise AudioError(f"{shown!r}: only https://HOST/... is fetched, without user or port")
        if parsed.host not in self.hosts:
            raise AudioError(f"{shown!r}: the host {parsed.host!r} is not among those that the operator allowed")
        pinned = parsed.copy_with(host=self._public_address(parsed.host))
        return self._fetched(pinned, parsed.host, most_bytes, shown)

    def _public_address(self, host: str) -> str:
        try:
            found = self.resolver(host, 443)
        except OSError:
            raise AudioError(f"the host {host!r} has no address") from None
        if not found or not all(ipaddress.ip_address(a).is_global for a in found):
            raise AudioError(f"the host {host!r} has an address that is not public")
        return found[0]

    def _fetched(self, url: httpx.URL, host: str, most: int, shown: str) -> bytes:
        ends, data = time.monotonic() + self.seconds, bytearray()
        headers = {"Host": host, "Accept-Encoding": "identity"}  # what is unpacked on the way could not be bounded
        request = httpx.Request("GET", url, headers=headers, extensions={"sni_hostname": host})
        try:
            with httpx.Client(
                follow_redirects=False, trust_env=False, timeout=self.seconds / 2, transport=self.transport
            ) as client:
                answer = client.send(request, stream=True)
                if answer.status_code != 200:
                    raise AudioError(f"{shown!r}: the host answered {answer.status_code}; only 200 is taken")
                for block in answer.iter_raw():
                    data += block
                    if len(data) > most:
                        raise AudioError(f"{shown!r}: more than {most} bytes")
                    if time.monotonic() > ends:
                        raise AudioError(f"{shown!r}: not there within {self.seconds:.0f} s")
        except httpx.HTTPError as error:
            raise AudioError(f"{shown!r}: cannot be fetched ({type(error).__name__})") from None
        return bytes(data)
