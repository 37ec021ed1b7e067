"""How each type of a stream stands, and which resources the proxy refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lateen.xds.limits import LONGEST_WORDS, MOST_WORDS_READ

#: name -> (version, the proxy's words)
Refused = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one type stands, for ``proxy-status``. Nonces count responses; empty: none yet."""

    sent: str
    acked: str
    error: str
    lags: bool = False  # more is to be told, as soon as what it waits for was acknowledged
    refused: Refused = field(default_factory=dict)

    @property
    def synced(self) -> bool:
        """Whether everything there is was sent, and everything sent was accepted."""
        return not self.error and self.sent == self.acked and not self.lags


@dataclass(slots=True)
class Refusals:
    """What the proxy does not take. A refusal stands until the resource is accepted in another version, or is gone."""

    standing: dict[str, tuple[str, str]] = field(default_factory=dict)
    _nameless: str = ""  # of a response in which nothing was changed
    under_way: tuple[
        tuple[str, str], ...
    ] = ()  # (name, version) of what was changed by the response in flight

    @property
    def words(self) -> str:
        """The last ones; empty when nothing is refused."""
        return next(reversed(self.standing.values()))[1] if self.standing else self._nameless

    def sending(self, changed: Iterable[tuple[str, str]], removed: Iterable[str]) -> None:
        """These are under way, as (name, version)."""
        self.under_way = tuple(changed)
        for name in removed:
            self.standing.pop(name, None)

    def heard(self, error: str) -> None:
        """The answer to what is under way; empty: accepted.

        Envoy takes what it can of clusters and listeners and names the others; where it names none, none was taken.
        """
        sent, self.under_way, self._nameless = self.under_way, (), ""
        for name, _ in sent:
            self.standing.pop(name, None)
        if not error:
            return
        read, words = error[:MOST_WORDS_READ], error[:LONGEST_WORDS]
        named = [it for it in sent if it[0] in read] or sent
        self.standing.update({name: (version, words) for name, version in named})
        if not named:
            self._nameless = words
