"""What do a pod's containers find in /etc? Who they are, who others are, and whom to ask."""

from __future__ import annotations

from pathlib import Path

from skiff.api import Object
from skiff.net.dns import host_resolvers
from skiff.settings import Settings


def hostname(pod: Object, settings: Settings) -> str:
    """What the pod's containers call themselves."""
    spec = pod["spec"]
    own = spec.get("hostname") or pod["metadata"]["name"]
    return settings.node_name if spec.get("hostNetwork") else str(own)[:63].rstrip("-.")


def write(pod: Object, ip: str, folder: Path, settings: Settings) -> None:
    """Write resolv.conf, hosts and hostname."""
    folder.mkdir(exist_ok=True)
    (folder / "resolv.conf").write_text(_resolvers(pod, settings))
    (folder / "hosts").write_text(_hosts(pod, ip, settings))
    (folder / "hostname").write_text(f"{hostname(pod, settings)}\n")


def _resolvers(pod: Object, settings: Settings) -> str:
    spec, namespace, domain = pod["spec"], pod["metadata"]["namespace"], settings.cluster_domain
    config, policy = spec.get("dnsConfig") or {}, spec.get("dnsPolicy", "ClusterFirst")
    servers, options = [settings.dns_ip], ["ndots:5"]
    search = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain]
    if policy == "None":
        servers, search, options = [], [], []
    elif policy == "Default":
        # A resolver on the host's own loopback cannot be reached from here: the cluster's DNS asks it.
        outside = [it for it in host_resolvers() if not it.startswith("127.")]
        servers, search, options = outside or servers, [], []
    servers += config.get("nameservers") or ()
    search += config.get("searches") or ()
    given = [":".join(filter(None, (it["name"], it.get("value")))) for it in config.get("options") or ()]
    named = {it.split(":")[0] for it in given}
    options = [*(it for it in options if it.split(":")[0] not in named), *given]
    lines = [f"search {' '.join(search)}"] if search else []
    lines += [f"nameserver {it}" for it in servers]
    lines += [f"options {' '.join(options)}"] if options else []
    return "".join(f"{it}\n" for it in lines)


def _hosts(pod: Object, ip: str, settings: Settings) -> str:
    spec, namespace, own = pod["spec"], pod["metadata"]["namespace"], hostname(pod, settings)
    full = (
        f"{own}.{spec['subdomain']}.{namespace}.svc.{settings.cluster_domain}\t"
        if spec.get("subdomain")
        else ""
    )
    extra = "".join(
        f"{it['ip']}\t{' '.join(it.get('hostnames') or ())}\n" for it in spec.get("hostAliases") or ()
    )
    return f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{ip}\t{full}{own}\n{extra}"
