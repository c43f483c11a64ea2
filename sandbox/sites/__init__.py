"""Function apps as sites of the sandbox, each served by its own host process."""

from sandbox.sites.arm import SitesControlPlane
from sandbox.sites.control import SiteControl, SiteView
from sandbox.sites.service import Sites

__all__ = ["SiteControl", "SiteView", "Sites", "SitesControlPlane"]
