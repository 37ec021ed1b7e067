"""Is this ProxyConfig one that the mesh can honour?"""

from __future__ import annotations

from lateen.api.extensions import ProxyConfig
from lateen.api.validate import shared
from lateen.api.validate.finding import Findings, warning

_IMAGES = ("", "default", "distroless", "debug")


def proxy_config(it: ProxyConfig) -> Findings:
    """``spec`` of a ProxyConfig."""
    yield from shared.selector(it.spec.selector, "spec.selector")
    if it.spec.image is not None and it.spec.image.image_type not in _IMAGES:
        yield warning(
            "spec.image.imageType",
            f'unknown type "{it.spec.image.image_type}": use default, distroless or debug',
        )
