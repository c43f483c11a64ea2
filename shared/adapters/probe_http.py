"""The health check of a deployed app, over plain HTTP."""

from shared.adapters.deadline import NoAnswer, send

_TIMEOUT_SECONDS = 3.0


class HttpProbe:
    """Implements the port `Probe`: health over plain HTTP, straight to the deployment's own address."""

    def check(self, address: str, path: str) -> str | None:
        """None if `http://address/path` answers 2xx or 3xx within 3 s in all, else the error.

        Redirects are not followed.
        """
        url = f"http://{address}{path}"
        try:
            status, _ = send("GET", url, _TIMEOUT_SECONDS, {"User-Agent": "basegate-probe"})
        except (NoAnswer, ValueError) as error:
            return f"{url} does not answer ({error})"
        return None if 200 <= status < 400 else f"{url} answers HTTP {status}"
