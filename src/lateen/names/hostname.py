"""Which service does a name mean? Short names, full names and wildcards of hosts."""

from __future__ import annotations

from lateen.names.keys import ServiceKey


def full(host: str, namespace: str, domain: str) -> str:
    """A host of an Istio object as a full name: a name without dots means a service of the object's own namespace.

    Istio's rule (VirtualService, ``Destination.host``): only names without a dot are completed.
    """
    if "." in host or host in ("*", ""):
        return host
    return f"{host}.{namespace}.svc.{domain}"


def of_service(name: str, namespace: str, domain: str) -> ServiceKey:
    """The key of a Kubernetes service."""
    return ServiceKey(namespace, f"{name}.{namespace}.svc.{domain}")


def is_wildcard(host: str) -> bool:
    """Whether it begins with ``*``, the only place where Istio allows one."""
    return host.startswith("*")


def matches(pattern: str, host: str) -> bool:
    """Whether every name meant by ``host`` is meant by ``pattern``: ``*.com`` matches ``a.com`` and ``*.a.com``."""
    if not is_wildcard(pattern):
        return pattern == host
    return host.removeprefix("*").endswith(pattern.removeprefix("*"))


def overlap(one: str, other: str) -> bool:
    """Whether some name is meant by both."""
    return matches(one, other) or matches(other, one)


def specificity(host: str) -> tuple[bool, int, str]:
    """Sorts the most specific first: exact names before wildcards, longer before shorter."""
    return (is_wildcard(host), -len(host), host)


def short_names(key: ServiceKey, client_namespace: str, domain: str) -> tuple[str, ...]:
    """The names under which a client may call a Kubernetes service, as DNS search paths allow; the full one first."""
    suffix = f".svc.{domain}"
    if not key.hostname.endswith(f".{key.namespace}{suffix}"):
        return (key.hostname,)
    name = key.hostname.removesuffix(f".{key.namespace}{suffix}")
    wide = (f"{name}.{key.namespace}.svc", f"{name}.{key.namespace}")
    return (key.hostname, *wide, name) if key.namespace == client_namespace else (key.hostname, *wide)
