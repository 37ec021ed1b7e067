"""What is shown to Prometheus? Envoy's statistics with Istio's metrics spelt out, the application's own, and ours.

Every family comes once: one TYPE line and all of its samples together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from lateen.names import metrics
from lateen.names.metrics import Workload

_ENVOYS = f"envoy_{metrics.PREFIX}_"
_SAMPLE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+([^\s{}]+)(?:[ \t]+-?[0-9.]+)?(?:[ \t]+# .*)?"
)
_LABELS = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")
_ENDINGS = ("_bucket", "_sum", "_count", "_total", "_created", "_info", "_gsum", "_gcount")


class MalformedError(ValueError):
    """A line is not of Prometheus' text format."""


class Family(NamedTuple):
    """A name, what is said about it, and its samples, each a line."""

    name: str
    about: list[str]
    samples: list[str]


def written(*sources: Iterable[Family]) -> bytes:
    """The page. A family of an earlier source hides that of the same name in later ones."""
    seen: set[str] = set()
    lines: list[str] = []
    for source in sources:
        fresh = [it for it in source if it.name not in seen]
        seen.update(it.name for it in fresh)
        for it in fresh:
            lines += it.about
            lines += it.samples
    return "\n".join([*lines, ""]).encode()


def families(text: str) -> list[Family]:
    """A page of the text format, by family; MalformedError. ``# EOF`` and other remarks are left out."""
    found: dict[str, Family] = {}
    current = ""
    for line in text.splitlines():
        if not line.strip():
            continue
        if line.startswith("#"):
            words = line.split(None, 3)
            if len(words) > 2 and words[1] in ("TYPE", "HELP"):
                current = words[2]
                about = found.setdefault(current, Family(current, [], [])).about
                if not any(it.split(None, 3)[1] == words[1] for it in about):
                    about.append(line)
            continue
        matched = _SAMPLE.fullmatch(line)
        if matched is None or not _is_number(matched[3]) or not _are_labels(matched[2] or ""):
            raise MalformedError(f"not a sample: {line[:80]}")
        name = _family(matched[1], current)
        found.setdefault(name, Family(name, [], [])).samples.append(line)
    return [it for it in found.values() if it.samples]


def _family(sample: str, current: str) -> str:
    if sample == current or (sample.startswith(current) and sample[len(current) :] in _ENDINGS):
        return current
    return sample


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _are_labels(text: str) -> bool:
    at = 0
    while at < len(text):
        matched = _LABELS.match(text, at)
        if matched is None:
            return False
        at = matched.end()
    return True


def expanded(text: str, own: Workload, principal: str) -> Iterator[Family]:
    """Envoy's page with Istio's families under their own names and labels; the rest as it is."""
    for family in _envoys(text):
        if not family.name.startswith(_ENVOYS):
            yield family
            continue
        name = family.name.removeprefix("envoy_")
        about = [it.replace(family.name, name, 1) for it in family.about]
        yield Family(name, about, _istio(family.samples, own, principal))


def _envoys(text: str) -> Iterable[Family]:
    """By family. Envoy's form is known, and its page is long: it is not looked at closer than needed."""
    found: dict[str, Family] = {}
    samples: list[str] = []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name = line.split(" ", 3)[2]
            samples = found.setdefault(name, Family(name, [line], [])).samples
        elif line and line[0] != "#":
            samples.append(line)
    return found.values()


def _istio(samples: Iterable[str], own: Workload, principal: str) -> list[str]:
    """Series that Istio's labels no longer tell apart become one."""
    known: dict[str, str] = {}
    sums: dict[str, float] = {}
    for line in samples:
        name, _, rest = line.partition("{")
        packed, _, value = rest.rpartition("} ")
        packed, comma, bound = packed.partition(',le="')
        if packed not in known:
            known[packed] = labels(metrics.expand(_tags(packed), own, principal))
        key = f"{name.removeprefix('envoy_')}{{{known[packed]}{comma}{bound}}}"
        sums[key] = sums.get(key, 0.0) + float(value)
    return [f"{series} {number(value)}" for series, value in sums.items()]


def _tags(text: str) -> dict[str, str]:
    return {
        it[1]: _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], it[2])
        for it in _LABELS.finditer(text)
    }


def labels(found: Mapping[str, str]) -> str:
    """``a="b",c="d"``."""
    return ",".join(f'{name}="{_quoted(value)}"' for name, value in found.items())


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    """Whole numbers without a point."""
    return str(int(value)) if value.is_integer() else repr(value)


def family(name: str, kind: str, help_: str, samples: Mapping[str, float]) -> Family:
    """One of our own: values by labels as ``labels`` writes them."""
    lines = [f"{name}{f'{{{it}}}' if it else ''} {number(value)}" for it, value in samples.items()]
    return Family(name, [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"], lines)
