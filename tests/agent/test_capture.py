"""Rules as text for every option, and as the kernel applies them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from lateen.agent import capture
from lateen.app import node_agent
from lateen.injection.inject import inject
from lateen.injection.settings import InjectionSettings
from lateen.testing.namespaces import Namespace

PLAIN = """\
table ip istio_proxy_nat
delete table ip istio_proxy_nat
table ip istio_proxy_nat {
  chain inbound {
    type nat hook prerouting priority -100; policy accept;
    meta l4proto != tcp return
    tcp dport { 15008, 15090, 15021, 15020 } return
    meta l4proto tcp redirect to :15006
  }
  chain outbound {
    type nat hook output priority -100; policy accept;
    meta l4proto != tcp return
    oifname "lo" ip saddr 127.0.0.6 return
    oifname "lo" ip daddr != 127.0.0.1 meta skuid { 1337 } tcp dport != { 53, 15008 } redirect to :15006
    oifname "lo" meta skuid != { 1337 } return
    meta skuid { 1337 } return
    oifname "lo" ip daddr != 127.0.0.1 meta skgid { 1337 } tcp dport != { 53, 15008 } redirect to :15006
    oifname "lo" meta skgid != { 1337 } return
    meta skgid { 1337 } return
    ip daddr 127.0.0.1 return
    meta l4proto tcp redirect to :15001
  }
}
"""


def injected(annotations: dict[str, str]) -> list[str]:
    """The arguments of the init container, as the injector writes them."""
    named = {f"traffic.sidecar.istio.io/{name}": value for name, value in annotations.items()}
    pod = {"metadata": {"annotations": named}, "spec": {"containers": [{"name": "app"}]}}
    made = inject(pod, InjectionSettings(), namespace="default")["spec"]["initContainers"][0]
    assert made["args"][0] == "istio-iptables"
    return list(made["args"][1:])


def rules(*arguments: str, **annotations: str) -> str:
    options = capture._parser().parse_args([*injected(annotations), *arguments])
    return capture.ruleset(capture.capture(options))


def test_what_the_injector_asks_for() -> None:
    assert rules() == PLAIN


@pytest.mark.parametrize(
    ("annotations", "line"),
    [
        ({"includeInboundPorts": "80,443"}, "tcp dport { 80, 443 } redirect to :15006"),
        ({"excludeInboundPorts": "22"}, "tcp dport { 15008, 15090, 15021, 22, 15020 } return"),
        ({"includeOutboundIPRanges": "10.0.0.0/8, 10.1.0.0/16"}, "ip daddr { 10.0.0.0/8 } meta l4proto tcp redirect to :15001"),
        ({"excludeOutboundIPRanges": "10.0.0.1/8"}, "ip daddr { 10.0.0.0/8 } return"),
        ({"includeOutboundPorts": "3306"}, "tcp dport { 3306 } redirect to :15001"),
        ({"excludeOutboundPorts": "25,26"}, "tcp dport { 25, 26 } return"),
    ],
)  # fmt: skip
def test_annotations(annotations: dict[str, str], line: str) -> None:
    assert f"    {line}\n" in rules(**annotations)


@pytest.mark.finding("conformance F19")
def test_what_comes_from_a_virtual_machine_goes_out_of_the_pod() -> None:
    text = rules("-k", "net1", "-x", "10.9.0.0/16", "-o", "25", "-q", "99")
    chain = text.partition("chain virtual {")[2].partition("}\n  chain")[0]
    assert [it.strip() for it in chain.splitlines() if it.strip()] == [
        "tcp dport { 25 } return", "ip daddr 127.0.0.1 return", "ip daddr { 10.9.0.0/16 } return",
        "tcp dport { 99 } redirect to :15001", "meta l4proto tcp redirect to :15001",
    ]  # fmt: skip
    inbound = text.partition("chain inbound {")[2].partition("chain outbound")[0]
    assert inbound.index("goto virtual") < inbound.index("redirect to :15006")
    assert "virtual" not in rules()


def test_ranges_of_ipv6_say_nothing() -> None:
    """None of it is captured; a pod that names some beside those of IPv4 must start all the same."""
    assert "    ip daddr { 10.0.0.0/8 } return\n" in rules("-x", "10.0.0.0/8,fd00::/8")
    assert "redirect to :15001" not in rules("-i", "fd00::/8").partition("chain outbound")[2]


def test_nothing_is_nothing() -> None:
    text = rules(includeInboundPorts="", includeOutboundIPRanges="")
    inbound, outbound = text.split("chain outbound")
    assert "redirect" not in inbound
    assert "redirect to :15001" not in outbound


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("-p", "16001"), "meta l4proto tcp redirect to :16001"), (("-z", "16006"), "meta l4proto tcp redirect to :16006"),
        (("-e", "16008"), "tcp dport { 16008, 15090, 15021, 15020 } return"), (("-u", "1,2"), "meta skuid { 1, 2 } return"),
        (("-c", "eth1,net-2"), 'oifname { "eth1", "net-2" } return'), (("-c", "eth1"), 'iifname { "eth1" } return'),
        (("-k", "net1,net2"), 'iifname { "net1", "net2" } goto virtual'),
    ],
)  # fmt: skip
def test_options_without_an_annotation(arguments: tuple[str, ...], line: str) -> None:
    assert f"    {line}\n" in rules(*arguments)
    assert "skgid" not in rules("-g", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "TPROXY"), "only REDIRECT"), (("-p", ""), '-p "" is not one port'), (("-b", "80,http"), '"http" is not a number'),
        (("-d", "70000"), '"70000" is not a number up to 65535'), (("-i", "fd00::/129"), "ranges like 10.0.0.0/8"),
        (("-x", "10.0.0.0/33"), "ranges like 10.0.0.0/8"), (("-k", "a b"), "not the name of an interface"), (("-c", 'eth0" }; drop'), "not the name of an interface"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert capture.main(arguments) == 1
    assert said in capsys.readouterr().err


def test_the_image_shows_the_rules_without_applying_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        node_agent.main(["istio-iptables", *injected({}), "-n"])
    assert not ended.value.code
    assert capsys.readouterr().out == PLAIN + "\n"


@pytest.fixture
def pod() -> Iterator[Namespace]:
    made = Namespace()
    made.ip(
        "link add eth0 type veth peer name other",
        "link set other up",
        "link set eth0 up",
        "addr add 10.244.9.1/16 dev eth0",
        "route add default dev eth0",
    )
    yield made
    made.close()


def apply(pod: Namespace, *arguments: str) -> None:
    pod.run(sys.executable, "-m", "lateen.app.node_agent", "istio-iptables", *arguments)


@pytest.mark.root
def test_applied_twice_is_applied_once_and_goes_again(pod: Namespace) -> None:
    for _ in range(2):
        apply(
            pod,
            *injected({"includeOutboundPorts": "3306", "excludeOutboundIPRanges": "10.0.0.0/8,10.2.0.0/16"}),
        )
        listed = pod.run("nft", "list", "ruleset")
        assert listed.count("redirect to :15001") == 2
    for _ in range(2):
        apply(pod, "--cleanup-only")
        assert "istio_proxy_nat" not in pod.run("nft", "list", "ruleset")


@pytest.mark.root
def test_without_rights_it_says_what_is_missing(pod: Namespace) -> None:
    command = [
        "setpriv",
        "--reuid=1337",
        "--clear-groups",
        sys.executable,
        "-m",
        "lateen.app.node_agent",
        "istio-iptables",
    ]
    with pytest.raises(RuntimeError, match="needs the capability NET_ADMIN"):
        pod.run(*command)


def reached(pod: Namespace, address: str, port: int, user: int = 0) -> int:
    """Which listener a connection comes to: its port, or 0."""
    code = (
        "import os,socket,sys; os.setuid(int(sys.argv[3])); "
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5); print(s.recv(9).decode())"
    )
    done = subprocess.run(
        ["nsenter", f"--net={pod.path}", sys.executable, "-c", code, address, str(port), str(user)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return int(done.stdout or 0)


@pytest.mark.root
@pytest.mark.parametrize(
    ("arguments", "address", "port", "user", "expected"),
    [
        ((), "93.184.216.34", 80, 0, 15001), ((), "93.184.216.34", 80, 1337, 0), ((), "127.0.0.1", 8080, 0, 8080),
        ((), "10.244.9.1", 8080, 0, 8080), ((), "10.244.9.1", 8080, 1337, 15006), ((), "127.0.0.1", 8080, 1337, 8080),
        (("-i", "10.0.0.0/8"), "93.184.216.34", 80, 0, 0), (("-i", "10.0.0.0/8"), "10.96.0.1", 80, 0, 15001),
        (("-x", "93.0.0.0/8"), "93.184.216.34", 80, 0, 0), (("-o", "80"), "93.184.216.34", 80, 0, 0),
        (("-i", "", "-q", "80"), "93.184.216.34", 80, 0, 15001), (("-i", "", "-q", "80"), "93.184.216.34", 81, 0, 0),
        (("-c", "eth0"), "93.184.216.34", 80, 0, 0), (("-u", "5", "-g", "5"), "93.184.216.34", 80, 1337, 15001),
    ],
)  # fmt: skip
def test_where_connections_come_out(
    pod: Namespace, arguments: tuple[str, ...], address: str, port: int, user: int, expected: int
) -> None:
    apply(pod, *arguments)
    with answering(pod, 8080, 15001, 15006):
        assert reached(pod, address, port, user) == expected


@contextlib.contextmanager
def answering(pod: Namespace, *ports: int) -> Iterator[None]:
    """Listeners which tell whoever comes their port."""
    listeners = []
    for number in ports:
        made = pod.call(lambda: socket.socket())
        made.bind(("0.0.0.0", number))
        made.listen()
        listeners.append(made)

    def answer(it: socket.socket) -> None:
        try:
            connection, _ = it.accept()
            connection.sendall(str(it.getsockname()[1]).encode())
            connection.close()
        except OSError:
            pass

    threads = [threading.Thread(target=answer, args=(it,), daemon=True) for it in listeners]
    for it in threads:
        it.start()
    try:
        yield
    finally:
        for made in listeners:
            made.shutdown(socket.SHUT_RDWR)
            made.close()
        for it in threads:
            it.join(5)


@pytest.mark.root
@pytest.mark.finding("conformance F19")
@pytest.mark.parametrize(
    ("arguments", "address", "port", "expected"),
    [
        (("-k", "net1"), "203.0.113.9", 80, 15001), (("-k", "net1"), "192.168.7.1", 8080, 15001),
        (("-k", "net1", "-x", "192.168.7.1/32"), "192.168.7.1", 8080, 8080), ((), "192.168.7.1", 8080, 15006),
        (("-c", "net1"), "192.168.7.1", 8080, 8080), (("-k", "net1", "-i", "203.0.113.0/24"), "192.168.7.1", 8080, 8080),
    ],
)  # fmt: skip
def test_connections_of_a_virtual_machine(
    pod: Namespace, arguments: tuple[str, ...], address: str, port: int, expected: int
) -> None:
    """A machine behind the interface net1, whose gateway is the pod."""
    machine = Namespace()
    try:
        pod.ip(
            "link add net1 type veth peer name vm0", f"link set vm0 netns {machine.path}", "addr add 192.168.7.1/24 dev net1",
            "link set net1 up",
        )  # fmt: skip
        machine.ip("addr add 192.168.7.2/24 dev vm0", "link set vm0 up", "route add default via 192.168.7.1")
        apply(pod, *arguments)
        with answering(pod, 8080, 15001, 15006):
            assert reached(machine, address, port) == expected
    finally:
        machine.close()
