"""The injector's settings as they are at this moment, made anew only when one of their sources changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lateen.api.mesh_config import MeshConfig
from lateen.api.validate.finding import Finding, warning
from lateen.injection.settings import InjectionSettings, SettingsError, read_values, settings
from lateen.injection.values import Values


class Current:
    """What held goes on holding where the ConfigMap of the injector cannot be read: a typo must not stop all pods."""

    def __init__(self, mesh: Callable[[], MeshConfig | None]) -> None:
        self._mesh = mesh
        self._values: Values | None = None
        self._wrong = "the settings of the injector were not read yet"
        self._made: tuple[Values, MeshConfig, InjectionSettings] | None = None

    def read(self, data: Mapping[str, str] | None) -> tuple[Finding, ...]:
        """Take the ConfigMap as it is now, or None when it is gone; what is wrong in it."""
        if data is None and self._values is not None:
            return (warning("", "is gone: the injector keeps its last settings"),)
        try:
            found = read_values(data or {}, self._values)
        except SettingsError as wrong:
            self._wrong = str(wrong)
            return (Finding("", f"{wrong}{'; until fixed, the last settings hold' if self._values else ''}"),)
        self._values = found.values
        return found.told

    def settings(self) -> InjectionSettings:
        """SettingsError as long as there are none."""
        mesh = self._mesh()
        if self._values is None:
            raise SettingsError(self._wrong)
        if mesh is None:
            raise SettingsError("ConfigMap istio: data.mesh was not read yet, or cannot be")
        if self._made is None or self._made[0] is not self._values or self._made[1] is not mesh:
            self._made = (self._values, mesh, settings(self._values, mesh))
        return self._made[2]
