"""What is done and what must be true? One function for each step of the tutorial; it returns its figure or fails."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar

from lateen.api import reading
from lateen.demo import beside, traffic
from lateen.demo.commands import Machine, examples
from lateen.kube.client import KubeClient

SHOP = "kubernetes-manifests.yaml"
WORKLOADS = 12


class StepFailedError(Exception):
    """What should be true is not; the message says what was found."""


def until(true: Callable[[], bool], *, within_s: float, every_s: float = 0.5) -> float:
    """Wait for something to become true; the seconds it took. Raises TimeoutError."""
    begun = time.monotonic()
    while not true():
        if time.monotonic() - begun > within_s:
            raise TimeoutError(f"not within {within_s:.0f} s")
        time.sleep(every_s)
    return time.monotonic() - begun


def cluster_up(machine: Machine) -> str:
    """A1: skiff starts and the node is Ready."""
    begun = time.monotonic()
    machine.skiff("start", "--cpus", "6", "--memory", "8192", "--port", str(beside.api_port()))
    nodes = machine.objects("nodes")
    ready = [it for it in nodes if reading.holds(it, "Ready")]
    if not ready:
        raise StepFailedError(f"no node is Ready: {[it['metadata']['name'] for it in nodes]}")
    return f"node Ready after {time.monotonic() - begun:.1f} s"


def commands_answer(machine: Machine) -> str:
    """A2: the commands are there, and quick."""
    begun = time.monotonic()
    machine.lateen("--help")
    took = time.monotonic() - begun
    said = machine.kubectl("version")
    server = re.search(r"Server Version: (\S+)", said)
    return f"lateen --help in {took:.2f} s; server {server[1] if server else '?'}"


def mesh_installed(machine: Machine) -> str:
    """A3: control plane and gateway are ready."""
    machine.lateen("install", "--profile", "demo", "-y")
    pods = machine.objects("pods", "-n", "istio-system")
    unready = [it["metadata"]["name"] for it in pods if not reading.holds(it, "Ready")]
    if unready or len(pods) < 2:
        raise StepFailedError(f"not ready in istio-system: {unready or 'a pod is missing'}")
    return f"{len(pods)} pods ready in istio-system"


def install_again(machine: Machine) -> str:
    """A3: a second run writes nothing."""
    before = _versions(machine)
    machine.lateen("install", "--profile", "demo", "-y")
    changed = sorted(name for name, version in _versions(machine).items() if before.get(name) != version)
    if changed:
        raise StepFailedError(f"changed: {', '.join(changed)}")
    return f"{len(before)} objects unchanged"


def _versions(machine: Machine) -> dict[str, str]:
    kinds = "deployments,services,configmaps,serviceaccounts,roles,rolebindings"
    wide = (
        "crds,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations"
    )
    found = [
        *machine.objects(kinds, "-n", "istio-system"),
        *machine.objects(wide, "-l", "app.kubernetes.io/managed-by=lateen"),
    ]
    return {
        f"{it['kind']}/{it['metadata']['name']}": str(
            it["metadata"].get("generation") or it["metadata"]["resourceVersion"]
        )
        for it in found
    }


def injection_on(machine: Machine) -> str:
    """A7: the namespace is labelled."""
    machine.kubectl("label", "namespace", "default", "istio-injection=enabled", "--overwrite")
    return "namespace default: istio-injection=enabled"


def shop_applied(machine: Machine) -> str:
    """A5, A8': twelve pods of two containers run, from ``kubectl apply``."""
    begun = time.monotonic()
    machine.kubectl("apply", "-f", str(examples() / SHOP))
    try:
        until(lambda: len(running(machine)) == WORKLOADS, within_s=240, every_s=1)
    except TimeoutError as late:
        shown = machine.kubectl("get", "pods", "--no-headers", check=False).splitlines()
        unready = [line for line in shown if line.split()[1:3] != ["2/2", "Running"]]
        raise StepFailedError("not 2/2 Running after 240 s: " + "; ".join(map(_squeezed, unready))) from late
    return f"{WORKLOADS} pods 2/2 Running {time.monotonic() - begun:.1f} s after kubectl apply"


def _squeezed(line: str) -> str:
    return " ".join(line.split())


def running(machine: Machine) -> list[str]:
    """Names of the pods of namespace default that kubectl shows as 2/2 Running."""
    shown = machine.kubectl("get", "pods", "--no-headers", check=False)
    return [line.split()[0] for line in shown.splitlines() if line.split()[1:3] == ["2/2", "Running"]]


def checkout_through_gateway(machine: Machine) -> str:
    """A6: an order is placed by HTTP, as a browser would."""
    machine.kubectl("apply", "-f", str(examples() / "istio" / "gateway.yaml"))
    url = gateway_url(machine)
    until(lambda: _status(url) == 200, within_s=60)
    try:
        order = _buy(url)
    except OSError as problem:  # urllib's errors, refusals by status among them, are OSErrors
        raise StepFailedError(f"no order at {url}: {problem}") from problem
    return f"order {order} was placed at {url}"


def _buy(url: str) -> str:
    """Buy the first thing on the front page; the order's number."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with opener.open(url, timeout=10) as page:
        product = re.search(r"/product/(\w+)", page.read().decode())
    if not product:
        raise StepFailedError("the shop's front page lists no product")
    opener.open(f"{url}/cart", data=f"product_id={product[1]}&quantity=1".encode(), timeout=10).close()
    order = (
        "email=someone%40example.com&street_address=1+Harbour+Road&zip_code=94043&city=Port&state=CA&country=Land"
        "&credit_card_number=4432801561520454&credit_card_expiration_month=1&credit_card_expiration_year=2039&credit_card_cvv=672"
    )
    with opener.open(f"{url}/cart/checkout", data=order.encode(), timeout=20) as page:
        number = re.search(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", page.read().decode())
    if not number:
        raise StepFailedError("the checkout page names no order")
    return number[0]


def gateway_url(machine: Machine) -> str:
    """Where the shop is open to the world."""
    service = json.loads(
        machine.kubectl("get", "service", "istio-ingressgateway", "-n", "istio-system", "-o", "json")
    )
    found = reading.parts(service, "status", "loadBalancer", "ingress")
    if not found:
        raise StepFailedError("the ingress gateway's Service has no address")
    return f"http://{found[0].get('ip') or found[0]['hostname']}"


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:  # noqa: S310  # an address of the demo's own cluster
            return int(page.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return 0


def literal_delete(machine: Machine) -> str:
    """A8: the tutorial's command names a namespace that does not exist; kubectl says so and nothing happens."""
    before = running(machine)
    done = machine.kubectl_result("delete", "--all", "pod", "-n", "istio-injection=enabled", check=False)
    said = (done.stdout + done.stderr).strip()
    if done.returncode != 0 or "No resources found" not in said or running(machine) != before:
        raise StepFailedError(f"exit code {done.returncode}, said {said!r}")
    return said


def apply_again(machine: Machine) -> str:
    """A9: nothing changes and no pod restarts."""
    before = running(machine)
    said = machine.kubectl("apply", "-f", str(examples() / SHOP)).splitlines()
    changed = [line for line in said if not line.endswith("unchanged")]
    if changed or running(machine) != before:
        raise StepFailedError(f"changed: {changed}")
    return f"{len(said)} objects unchanged"


def proxies_synced(machine: Machine) -> str:
    """A10: all sidecars and the gateway have acknowledged all they were sent."""
    wanted = WORKLOADS + 1

    def stale() -> list[str]:
        status = json.loads(machine.lateen("proxy-status", "-o", "json"))
        kinds = ("cluster", "listener", "endpoint", "route")
        late = [
            it["proxy"]
            for it in status
            for kind in kinds
            if it.get(f"{kind}_status") not in ("SYNCED", "NOT SENT", None)
        ]
        return late if len(status) == wanted else [f"{len(status)} of {wanted} proxies are connected"]

    try:
        until(lambda: not stale(), within_s=30)
    except TimeoutError as late:
        raise StepFailedError(f"not synced: {', '.join(sorted(set(stale())))}") from late
    return f"{wanted} proxies SYNCED"


def measure(
    machine: Machine, seconds: float, reporter: str = "destination"
) -> dict[traffic.Edge, traffic.Flow]:
    """What the shop's proxies saw during some seconds."""

    async def read() -> dict[traffic.Edge, traffic.Flow]:
        async with KubeClient.from_environment(machine.environment["KUBECONFIG"], None) as client:
            before = traffic.flows(await traffic.pages(client, ["default"]), reporter)
            await asyncio.sleep(seconds)
            return traffic.difference(
                traffic.flows(await traffic.pages(client, ["default"]), reporter), before
            )

    return asyncio.run(read())


def calls_are_mutual_tls(machine: Machine) -> str:
    """A10: counted by ``connection_security_policy`` where the calls arrive."""
    seen = {edge: flow for edge, flow in measure(machine, 12).items() if edge.source != "unknown"}
    whole = traffic.total(seen)
    if not whole.requests:
        raise StepFailedError("no call was counted")
    if whole.mutual_tls != whole.requests:
        plain = [
            f"{edge.source} -> {edge.destination}"
            for edge, flow in seen.items()
            if flow.mutual_tls < flow.requests
        ]
        raise StepFailedError(
            f"{whole.requests - whole.mutual_tls:.0f} of {whole.requests:.0f} calls in plaintext: {plain}"
        )
    return (
        f"{whole.requests:.0f} calls over {len(seen)} edges, 100 % mutual TLS, {whole.failures:.0f} failed, "
        f"p50 {traffic.milliseconds(whole.quantile_ms(0.5), 1)}, p99 {traffic.milliseconds(whole.quantile_ms(0.99), 1)}"
    )


def canary(machine: Machine) -> str:
    """A13: the share of v2 is what the VirtualService says, and v2 is slow."""
    file = str(examples() / "istio" / "canary.yaml")
    machine.kubectl(
        "apply", "-f", file, "-l", "version=v2"
    )  # first, so that no call is sent to what does not run
    machine.kubectl(
        "rollout", "status", "deployment/productcatalogservice-v2", "--timeout=120s", timeout_s=130
    )
    machine.kubectl("apply", "-f", file)
    count, to_second = 0.0, 0.0
    # Chance has its share: of 200 calls one in thirteen samples lies outside, of 700 one in a thousand.
    for _ in range(8):
        seen = {
            edge: flow
            for edge, flow in measure(machine, 10).items()
            if edge.destination.startswith("productcatalogservice")
        }
        second = {
            edge: flow
            for edge, flow in seen.items()
            if edge.destination.endswith("-v2") or edge.version == "v2"
        }
        count += traffic.total(seen).requests
        to_second += traffic.total(second).requests
        slow = traffic.milliseconds(traffic.total(second).quantile_ms(0.5))
        if count >= 200 and 0.15 <= to_second / count <= 0.25:
            return f"v2 answered {100 * to_second / count:.1f} % of {count:.0f} calls, with p50 {slow}"
    raise StepFailedError(f"v2 answered {to_second:.0f} of {count:.0f} calls, wanted 20 %")


def strict(machine: Machine) -> str:
    """A10: PeerAuthentication STRICT under load, and the load generator restarted: nothing fails."""
    machine.kubectl("apply", "-f", str(examples() / "istio" / "strict.yaml"))
    machine.kubectl("rollout", "restart", "deployment/loadgenerator")
    machine.kubectl("rollout", "status", "deployment/loadgenerator", "--timeout=120s", timeout_s=130)
    seen = measure(machine, 15)
    whole = traffic.total({edge: flow for edge, flow in seen.items() if edge.source != "unknown"})
    if whole.failures or not whole.requests:
        raise StepFailedError(f"{whole.failures:.0f} of {whole.requests:.0f} calls failed")
    return f"{whole.requests:.0f} calls, 0 failed, {100 * whole.mutual_tls / whole.requests:.0f} % mutual TLS"


def further(machine: Machine) -> list[str]:
    """What to type in another terminal to look further, while the demo's cluster runs."""
    binaries = machine.environment["PATH"].partition(":")[0]
    inside = beside.entrance(json.loads(machine.skiff("status", "-o", "json"))["pid"])
    return [
        *([inside] if inside else []),
        f'export KUBECONFIG={machine.environment["KUBECONFIG"]} PATH="{binaries}:$PATH"',
        "kubectl get pods",
        "lateen proxy-status",
        "lateen proxy-config routes deploy/frontend",
        "kubectl edit virtualservice productcatalogservice    # the canary: change its weights and watch",
    ]


def clean(machine: Machine) -> str:
    """The cluster and everything of it is gone."""
    machine.skiff("delete", timeout_s=120)
    left = [line for line in machine.run("ip", "netns", "list").splitlines() if line.startswith("skiff")]
    if left:
        raise StepFailedError(f"namespaces are left: {left}")
    return "no process, namespace, link or rule is left"
