"""Profiles and settings."""

from __future__ import annotations

import json
import re

import pytest

from lateen.install import manifests
from lateen.install.values import PROFILES, ValuesError, installation


def test_a_setting_is_laid_over_the_profile() -> None:
    it = installation(
        "demo",
        [
            "meshConfig.accessLogFile=",
            "values.global.proxy.logLevel=debug",
            "meshConfig.enableAutoMtls=false",
        ],
    )
    assert it.mesh_config["accessLogFile"] == ""
    assert it.mesh_config["enableAutoMtls"] is False
    assert it.values["global"]["proxy"]["logLevel"] == "debug"
    assert it.values["global"]["proxy"]["resources"]["requests"]["cpu"] == "10m", (
        "the rest of the profile stays"
    )
    assert installation("demo").mesh_config["accessLogFile"] == "/dev/stdout", (
        "profiles are not changed by settings"
    )


def test_the_profile_may_be_a_setting() -> None:
    it = installation("default", ["profile=demo", "meshConfig.trustDomain=td"])
    assert (it.profile, it.mesh_config["accessLogFile"], it.mesh_config["trustDomain"]) == (
        "demo",
        "/dev/stdout",
        "td",
    )
    with pytest.raises(ValuesError, match="there are default, demo, minimal"):
        installation("default", ["profile=tiny"])


@pytest.mark.parametrize(
    ("profile", "setting", "said"),
    [
        ("tiny", "", "there are default, demo, minimal"),
        ("demo", "meshConfig", "path=value"),
        ("demo", "mashConfig.x=1", "a path starts with one of"),
        ("demo", "meshConfig=3", "is a group of settings"),
        ("demo", "meshConfig.trustDomain.x=3", "trustDomain is a value"),
    ],
)
def test_a_mistake_is_named(profile: str, setting: str, said: str) -> None:
    with pytest.raises(ValuesError, match=said):
        installation(profile, [setting] if setting else [])


@pytest.mark.finding("newcomer D.2.15")
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("meshConfig.outboundTrafficPolicy.mode=REGISTRY",
         r"meshConfig.outboundTrafficPolicy.mode: unknown value 'REGISTRY': use one of REGISTRY_ONLY, ALLOW_ANY"),
        ("meshConfig.acessLogFile=/dev/stdout", "meshConfig.acessLogFile: unknown field: did you mean accessLogFile?"),
        ("meshConfig.defaultConfig.holdApplicationUntilProxyStarts=maybe", "must be true or false, not a string"),
        ("meshConfig.trustDomain=a b", "is not a host name"),
    ],
)  # fmt: skip
def test_settings_that_the_control_plane_would_not_take_are_refused(setting: str, said: str) -> None:
    with pytest.raises(ValuesError, match=said):
        installation("default", [setting])


def test_settings_of_istio_without_effect_are_taken() -> None:
    assert installation("default", ["meshConfig.enableTracing=true"]).mesh_config["enableTracing"] is True


@pytest.mark.finding("conformance F6")
def test_what_has_no_effect_is_told_and_what_nobody_knows_is_refused() -> None:
    it = installation("demo", ["values.pilot.cni.enabled=true", "values.pilot.env.PILOT_TRACE_SAMPLING=1",
                               "meshConfig.defaultConfig.interceptionMode=TPROXY"])  # fmt: skip
    assert [said.partition(" ")[0] for said in it.told] == [
        "meshConfig.defaultConfig.interceptionMode", "values.pilot.cni.enabled", "values.pilot.env.PILOT_TRACE_SAMPLING",
    ]  # fmt: skip
    assert [installation(profile).told for profile in PROFILES] == [()] * len(PROFILES)
    for setting, said in (
        ("values.global.proxy.imag=x", "values.global.proxy.imag: unknown field: did you mean image"),
        ("values.global.proxy.statusPort=high", "values.global.proxy.statusPort: must be a whole number"),
        ("components.cni.enabled=true", "the components are ingressGateway, pilot"),
        ("components.pilott=false", "the components are ingressGateway, pilot"),
    ):
        with pytest.raises(ValuesError, match=re.escape(said)):
            installation("default", [setting])


@pytest.mark.finding("conformance F6")
def test_settings_by_their_name_in_helms_values() -> None:
    it = installation("default", ["values.global.hub=reg", "values.global.tag=7", "values.revision=canary",
                                  "values.global.istioNamespace=mesh"])  # fmt: skip
    assert (it.image("proxy"), it.revision, it.namespace) == ("reg/proxy:7", "canary", "mesh")
    values = json.loads(manifests.injector_config_map(it)["data"]["values"])
    assert (values["global"]["hub"], values["global"]["tag"], values["global"]["proxy"]["image"]) == (
        "reg",
        7,
        "proxy",
    )
    with pytest.raises(ValuesError, match=r"hub is 'a', and values.global.hub is 'b'"):
        installation("default", ["hub=a", "values.global.hub=b"])
    it = installation("default", ["values.global.proxy.image=mine"])
    assert (
        json.loads(manifests.injector_config_map(it)["data"]["values"])["global"]["proxy"]["image"] == "mine"
    )


def test_what_json_does_not_have_is_a_text() -> None:
    it = installation("default", ["values.sidecarInjectorWebhook.injectedAnnotations.since=2026-01-02"])
    assert json.loads(manifests.injector_config_map(it)["data"]["values"])


def test_a_switch_that_the_control_plane_reads_is_not_told_as_idle() -> None:
    it = installation("demo", ["values.pilot.env.PILOT_SCOPE_GATEWAY_TO_NAMESPACE=true"])
    assert it.told == ()
    assert it.values["pilot"]["env"] == {"PILOT_SCOPE_GATEWAY_TO_NAMESPACE": True}
