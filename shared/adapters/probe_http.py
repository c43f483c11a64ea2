"""Health over plain HTTP, straight to the container group's own address."""

import http.client

_TIMEOUT_SECONDS = 3.0


class HttpProbe:
    """Implements the port `Probe`."""

    def check(self, address: str, path: str) -> str | None:
        """None if `http://address/path` answers 2xx or 3xx within 3 s, else what it did instead."""
        connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("GET", path, headers={"User-Agent": "basegate-probe"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"http://{address}{path} does not answer ({type(error).__name__})"
        finally:
            connection.close()
        return None if 200 <= status < 400 else f"http://{address}{path} answers HTTP {status}"
