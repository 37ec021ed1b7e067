"""Two examples under the help of every verb: what to type, and what for."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "install": (
        ("lateen install -y", "the profile default, without questions"),
        ("lateen install --set profile=demo --set meshConfig.accessLogFile=/dev/stdout -y", "with settings"),
    ),
    "uninstall": (
        ("lateen uninstall -y", "the control plane and gateways; definitions and your objects stay"),
        ("lateen uninstall --purge -y", "everything, your Istio objects too"),
    ),
    "manifest generate": (
        ("lateen manifest generate | kubectl apply --server-side -f -", "install without this command"),
        ("lateen manifest generate --set profile=demo > mesh.yaml", "to keep in a repository"),
    ),
    "kube-inject": (
        ("kubectl apply -f <(lateen kube-inject -f app.yaml)", "with the settings of the mesh in the cluster"),
        ("lateen kube-inject -f app.yaml --meshConfigFile mesh.yaml -o injected.yaml", "without a cluster"),
    ),
    "proxy-status": (
        ("lateen proxy-status", "every proxy of the mesh"),
        ("lateen proxy-status deploy/web -n shop", "what one proxy should have and has not"),
    ),
    "problems": (
        ("lateen problems -n shop", "what is wrong with the objects of one namespace"),
        ("lateen problems -o json", "for programs; the exit code is 79 while an object is left out"),
    ),
    "version": (
        ("lateen version", "of this command, the control plane and the proxies"),
        ("lateen version --remote=false", "without a cluster"),
    ),
    "alias": (
        ("lateen alias istioctl", "so that the commands of tutorials work as they are"),
        ("lateen alias istioctl --remove", "and take it away again"),
    ),
    "demo": (
        ("lateen demo", "the shop inside the mesh; Ctrl-C leaves the machine clean"),
        ("lateen demo --check", "one PASS or FAIL line for each step"),
    ),
    "proxy-config cluster": (
        ("lateen proxy-config cluster deploy/web -n shop --port 80", "the clusters of a port"),
        ("lateen proxy-config cluster web-0.shop --fqdn reviews -o json", "one cluster, whole"),
    ),
    "proxy-config listener": (
        ("lateen proxy-config listener deploy/web --port 15006", "where calls arrive"),
        ("lateen proxy-config listener web-0.shop --type HTTP", "those that understand HTTP"),
    ),
    "proxy-config route": (
        ("lateen proxy-config route deploy/web --name 80", "the routes of one port"),
        ("lateen proxy-config route -f dump.json -o yaml", "of a saved dump"),
    ),
    "proxy-config endpoint": (
        ("lateen proxy-config endpoint deploy/web --status unhealthy", "what Envoy has ejected"),
        ("lateen proxy-config endpoint web-0.shop --port 9080 -o json", "those of a port, whole"),
    ),
    "proxy-config secret": (
        ("lateen proxy-config secret deploy/web", "certificates, and how long they last"),
        ("lateen proxy-config secret web-0.shop -o json", "with the chains"),
    ),
    "proxy-config bootstrap": (
        ("lateen proxy-config bootstrap deploy/web", "what Envoy was started with"),
        ("lateen proxy-config bootstrap web-0.shop -o yaml", "the same as YAML"),
    ),
    "proxy-config all": (
        ("lateen proxy-config all deploy/web", "every table, one after the other"),
        ("lateen proxy-config all web-0.shop -o json > dump.json", "to look at later with --file"),
    ),
}  # fmt: skip


def epilog(verb: str) -> str:
    """The examples of a verb in the form that typer prints: every example is a paragraph of its own."""
    lines = (f"{command.replace('[', '[[')}  [dim]# {purpose}[/dim]" for command, purpose in EXAMPLES[verb])
    return "\n\n".join(["[bold]Examples:[/bold]", *lines])
