"""Telemetry that is switched off costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_OFF = """
import sys
from shared.settings import Settings
from shared.telemetry import configure_telemetry

before = set(sys.modules)
configure_telemetry(Settings(storage_account="x"))
print(sorted(set(sys.modules) - before))
print([name for name in sys.modules if name.split(".")[0] == "opentelemetry" or name.startswith("azure.monitor")])
"""


def test_switched_off_it_imports_nothing() -> None:
    program = [sys.executable, "-c", _OFF]
    result = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.splitlines() == ["[]", "[]"]


_WITHOUT_PACKAGES = """
import sys
from shared.domain.errors import Misconfigured
from shared.settings import Settings
from shared.telemetry import configure_telemetry

sys.modules.update({"azure.monitor": None, "opentelemetry": None})  # as if they were not installed
try:
    configure_telemetry(Settings(storage_account="x", telemetry=sys.argv[1]))
except Misconfigured as error:
    print(error)
"""


@pytest.mark.parametrize(("telemetry", "package"), [("azure", "azure.monitor"), ("otlp", "opentelemetry")])
def test_switched_on_without_its_packages_it_names_the_file_to_install(telemetry: str, package: str) -> None:
    program = [sys.executable, "-c", _WITHOUT_PACKAGES, telemetry]
    result = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert f"BASEGATE_TELEMETRY is {telemetry}, and the package {package}" in result.stdout
    assert "requirements-telemetry.txt" in result.stdout


_OTLP = """
import http.server, logging, os, threading

paths = set()
told = threading.Event()

class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        paths.add(self.path)
        if b"a candidate was admitted" in body and b"basegate_gate" in body:
            told.set()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.server_address[1]}"
os.environ["OTEL_BLRP_SCHEDULE_DELAY"] = "50"

from shared.settings import Settings
from shared.telemetry import configure_telemetry

configure_telemetry(Settings(storage_account="x", telemetry="otlp"))
logging.getLogger("shared.intake").setLevel(logging.INFO)
logging.getLogger("shared.intake").info("a candidate was admitted", extra={"basegate_gate": "node"})
print(told.wait(20), sorted(paths))
"""


def test_switched_to_otlp_it_sends_the_log_with_its_fields() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    program = [sys.executable, "-W", "error::DeprecationWarning", "-c", _OTLP]
    result = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert result.stdout.splitlines() == ["True ['/v1/logs']"]


_METRICS = """
import http.server, os, threading

bodies = []

class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.server_address[1]}"

from opentelemetry.metrics import get_meter_provider
from shared.settings import Settings
from shared.telemetry import configure_telemetry, meter_of

settings = Settings(storage_account="x", telemetry="otlp")
configure_telemetry(settings)
meter = meter_of(settings)
meter.gauge("basegate.at_risk", 1, {"gate": "node", "tag": "15-alpine"})
get_meter_provider().force_flush()
get_meter_provider().force_flush()
print(meter_of(Settings(storage_account="x")))
print([(path, b"basegate.at_risk" in body, b"15-alpine" in body) for path, body in bodies])
"""


def test_a_gauge_is_exported_once_with_its_attributes() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    program = [sys.executable, "-W", "error::DeprecationWarning", "-c", _METRICS]
    result = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert result.stdout.splitlines() == ["None", "[('/v1/metrics', True, True)]"]


_AZURE = """
import logging
import azure.monitor.opentelemetry as monitor
from shared.settings import Settings
from shared.telemetry import configure_telemetry

lines = []

class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.name)

monitor.configure_azure_monitor = lambda logger_name: logging.getLogger(logger_name).addHandler(Lines())
configure_telemetry(Settings(storage_account="x", telemetry="azure"))
for name in ("functions.registry_events", "shared.reconcile.engine", "urllib3"):
    logging.getLogger(name).warning("something")
print(lines)
"""


def test_application_insights_hears_what_the_triggers_say_and_what_the_workflows_say() -> None:
    program = [sys.executable, "-c", _AZURE]
    result = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.splitlines() == ["['functions.registry_events', 'shared.reconcile.engine']"]
