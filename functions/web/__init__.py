"""Common to all HTTP functions. Handlers import their code at the first request."""

from collections.abc import Callable
from functools import wraps

import azure.functions as func

from shared.settings import platform_signs_in

Handler = Callable[[func.HttpRequest], func.HttpResponse]


def auth_level() -> func.AuthLevel:
    """What the host requires of a request: a function key, unless App Service signs callers in and roles decide."""
    return func.AuthLevel.ANONYMOUS if platform_signs_in() else func.AuthLevel.FUNCTION


def answering(handler: Handler) -> Handler:
    """Translate the app's errors into problems; `field` is the place in a malformed request."""

    @wraps(handler)
    def answered(req: func.HttpRequest) -> func.HttpResponse:
        from functions.web.responses import problem_of
        from shared.domain.errors import BasegateError

        try:
            return handler(req)
        except BasegateError as error:
            return problem_of(error)

    return answered
