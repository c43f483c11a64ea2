"""(4) HTTP: the operations that read and act. Each entry of the table is a function."""

import azure.functions as func

from functions.web import Handler, answering, auth_level
from shared.interface import OPERATIONS, Operation

blueprint = func.Blueprint()


def _function(operation: Operation) -> Handler:
    @answering
    def handler(req: func.HttpRequest) -> func.HttpResponse:
        from functions.web.serving import serve

        return serve(operation, req)

    level = auth_level() if operation.role else func.AuthLevel.ANONYMOUS
    route = blueprint.route(operation.path, methods=[operation.method], auth_level=level)
    registered: Handler = blueprint.function_name(operation.name)(route(handler))
    return registered


FUNCTIONS = {name: _function(operation) for name, operation in OPERATIONS.items()}
"""The functions by the names of their operations."""
