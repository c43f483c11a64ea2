"""Function apps as sites of the sandbox, each served by a host process of its own."""

from sandbox.sites.arm import SitesControlPlane
from sandbox.sites.control import SiteControl, SiteView
from sandbox.sites.service import Sites

__all__ = ["SiteControl", "SiteView", "Sites", "SitesControlPlane"]
