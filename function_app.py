"""Basegate: the one FunctionApp, with its blueprints in the order in which an event reaches them."""

import azure.functions as func

from functions import board, drift_timer, operator_api, registry_events, work

app = func.FunctionApp()
for module in (registry_events, work, drift_timer, operator_api, board):
    app.register_functions(module.blueprint)
