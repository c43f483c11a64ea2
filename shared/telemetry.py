"""Logs and OpenTelemetry, which a setting switches on; while it is off, no SDK is imported."""

import logging
from collections.abc import Mapping

from shared.domain.errors import Misconfigured
from shared.settings import Settings

_LOGGERS = ("functions", "shared")
"""Basegate's own loggers, without those of the SDKs."""


_GAUGES = {
    "basegate.findings": (
        "{finding}",
        "Findings of the newest report of a stable tag's image, by gate, tag, severity.",
    ),
    "basegate.scan.age": ("s", "The age of the newest report of a stable tag's image, by gate and tag."),
    "basegate.at_risk": ("1", "1 if a stable tag's image fails the scan of its gate under the rules of now, else 0."),
}
"""The gauges: unit and description by name. Each is reported by the sweep, for the tags that it has judged."""


class OpenTelemetryMeter:
    """Implements the port `Meter`."""

    def __init__(self) -> None:
        from opentelemetry.metrics import get_meter

        meter = get_meter("basegate")
        self._gauges = {name: meter.create_gauge(name, unit, about) for name, (unit, about) in _GAUGES.items()}

    def gauge(self, name: str, value: float, attributes: Mapping[str, str]) -> None:
        """Report a value; it is exported once."""
        self._gauges[name].set(value, dict(attributes))


def meter_of(settings: Settings) -> OpenTelemetryMeter | None:
    """What reports metrics, None while telemetry is off. `configure_telemetry` comes first."""
    return None if settings.telemetry == "off" else OpenTelemetryMeter()


def configure_telemetry(settings: Settings) -> None:
    """Reduce the SDKs' logs to warnings, and send logs, traces and metrics to the destination in the settings.

    `azure` needs APPLICATIONINSIGHTS_CONNECTION_STRING, `otlp` the standard OTEL_EXPORTER_OTLP_* variables.

    Raises:
        Misconfigured: telemetry is on, and its packages are not installed.
    """
    logging.getLogger("azure").setLevel(logging.WARNING)  # INFO logs the headers of every request
    configure = {"azure": _configure_azure, "otlp": _configure_otlp}.get(settings.telemetry)
    if configure is None:
        return
    try:
        configure()
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"BASEGATE_TELEMETRY is {settings.telemetry}, and the package {error.name} is not installed",
            remedy="deploy with requirements-telemetry.txt as requirements.txt, or set BASEGATE_TELEMETRY to off",
        ) from error


def _configure_azure() -> None:
    from azure.monitor.opentelemetry import configure_azure_monitor

    first, *others = _LOGGERS
    configure_azure_monitor(logger_name=first)  # it accepts only one name
    for handler in logging.getLogger(first).handlers:
        for name in others:
            logging.getLogger(name).addHandler(handler)


def _configure_otlp() -> None:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.metrics import set_meter_provider
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import set_tracer_provider

    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    set_tracer_provider(traces)
    set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
    logs = LoggerProvider()
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(LoggingHandler(logger_provider=logs))
