"""The formats of scanner reports, one module each. A further format is one more module and its entry in `FORMATS`."""

from shared.findings.formats.cyclonedx import CycloneDxReader
from shared.findings.formats.grype import GrypeReader
from shared.findings.formats.osv import OsvReader
from shared.findings.formats.reader import ReportReader
from shared.findings.formats.sarif import SarifReader
from shared.findings.formats.trivy import TrivyReader

FORMATS: dict[str, type[ReportReader]] = {
    reader.format: reader for reader in (TrivyReader, GrypeReader, OsvReader, SarifReader, CycloneDxReader)
}
"""The formats by their keys, in the order in which their keys are looked up."""
