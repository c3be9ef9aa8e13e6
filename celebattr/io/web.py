"""Photos at http(s) addresses, for who allows it by name: bounded, and from public hosts only.

An address may come from a stranger, as a line of a list, and is fetched from inside the operator's
network: so each host is looked up here, and what is connected to is the address that was judged.
Proxies of the environment are not used, as they would look hosts up themselves.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from urllib.parse import quote, urljoin, urlsplit

from celebattr.constants import MAX_BYTES
from celebattr.errors import ImageNotFoundError, ImageTooLargeError, UnreadableImageError

SECONDS = 30.0
"""Time for one photo, redirects included."""
_SILENCE = 10.0
"""Seconds without a byte after which a host is given up."""
_REDIRECTS = 5
_CHUNK = 1 << 16
_SAFE = "/%:@!$&'()*+,;=~?"
_MOVED = (301, 302, 303, 307, 308)


def read(url: str, called: str) -> bytes:
    """Return the bytes at an address.

    Args:
        url: the address.
        called: the name for messages, without secrets.

    Raises:
        ImageNotFoundError: there is nothing.
        ImageTooLargeError: there are more bytes than `MAX_BYTES`.
        UnreadableImageError: its host is private, fails or takes too long.
    """
    end = time.monotonic() + SECONDS
    try:
        for _ in range(_REDIRECTS + 1):
            answer = _get(url, end)
            if isinstance(answer, bytes):
                return answer
            before, url = urlsplit(url).scheme, urljoin(url, answer)
            if urlsplit(url).scheme != before:
                raise _RefusedError(f"redirects to another protocol, {urlsplit(url).scheme}://")
        raise _RefusedError("redirects again and again")
    except FileNotFoundError as error:
        raise ImageNotFoundError(f"{called}: no such file") from error
    except OverflowError as error:
        raise ImageTooLargeError(f"{called}: more bytes than the limit of {MAX_BYTES:,}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableImageError(f"{called}: {reason}") from error


class _RefusedError(OSError):
    """Says why an address is not opened."""


def _get(url: str, end: float) -> bytes | str:
    """Return the bytes at an address, or the address that it redirects to."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise _RefusedError("not an address")
    path = quote(parts.path or "/", safe=_SAFE) + f"?{quote(parts.query, safe=_SAFE)}".rstrip("?")
    connection = _Connection(parts.scheme, parts.hostname, parts.port, end)
    try:
        connection.request("GET", path, headers={"User-Agent": "celebattr"})
        response = connection.getresponse()
        if response.status in _MOVED and (place := response.getheader("Location")):
            return place
        if response.status in (404, 410):
            raise FileNotFoundError
        if response.status != 200:
            raise _RefusedError(f"the host answers {response.status} {response.reason}")
        length = response.getheader("Content-Length")
        if int(length or 0) > MAX_BYTES:
            raise OverflowError
        data = bytearray()
        while part := response.read(_CHUNK):
            data += part
            if len(data) > MAX_BYTES:
                raise OverflowError
        if time.monotonic() > end or len(data) != int(length or len(data)):
            raise _RefusedError("the answer breaks off")
        return bytes(data)
    except OSError as error:
        if time.monotonic() > end:
            raise _RefusedError(f"takes longer than {SECONDS:.0f} seconds") from error
        raise
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    """A connection to a public host, by the very address that was found to be one.

    It is cut at the time `end`: a timeout of a socket would begin again with each byte.
    """

    def __init__(self, protocol: str, host: str, port: int | None, end: float) -> None:
        self._secure = protocol == "https"
        super().__init__(host, port or (443 if self._secure else 80), timeout=_SILENCE)
        self._watch = threading.Timer(max(end - time.monotonic(), 0.0), self._cut)
        self._watch.daemon = True

    def connect(self) -> None:
        """Connect to the first address of the host, if all are public."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = [str(place[4][0]) for place in found]
        if not all(_is_public(address) for address in addresses):
            raise _RefusedError("in a private network: not opened")
        self.sock = socket.create_connection((addresses[0], self.port), self.timeout)
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
        self._watch.start()
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.do_handshake()

    def close(self) -> None:
        """Close the connection."""
        self._watch.cancel()
        super().close()

    def _cut(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # closed already
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def _is_public(address: str) -> bool:
    """Return True if an IP address is one of the open Internet."""
    place = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(place, "ipv4_mapped", None) or getattr(place, "sixtofour", None)
    return place.is_global and not place.is_multicast and (inner is None or inner.is_global)
