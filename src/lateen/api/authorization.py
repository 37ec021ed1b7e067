"""Who may do what? AuthorizationPolicy and RequestAuthentication (security.istio.io)."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta, field
from msgspec.structs import force_setattr

from lateen.api.meta import Duration, Fact, PolicyTarget, Text, Value, WorkloadSelector


class Action(enum.StrEnum):
    """What follows when a rule matches."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


class Source(Value, frozen=True):
    """Who asks. Fields hold together, values of one are alternatives."""

    principals: list[str] = []
    not_principals: list[str] = []
    request_principals: list[str] = []
    not_request_principals: list[str] = []
    namespaces: list[str] = []
    not_namespaces: list[str] = []
    service_accounts: list[str] = []
    not_service_accounts: list[str] = []
    ip_blocks: list[str] = []
    not_ip_blocks: list[str] = []
    remote_ip_blocks: list[str] = []
    not_remote_ip_blocks: list[str] = []
    trust_domains: list[str] = []
    not_trust_domains: list[str] = []


class From(Value, frozen=True):
    """One alternative of who asks."""

    source: Source | None = None


class Operation(Value, frozen=True):
    """What is asked for."""

    hosts: list[str] = []
    not_hosts: list[str] = []
    ports: list[str] = []
    not_ports: list[str] = []
    methods: list[str] = []
    not_methods: list[str] = []
    paths: list[str] = []
    not_paths: list[str] = []


class To(Value, frozen=True):
    """One alternative of what is asked for."""

    operation: Operation | None = None


class Condition(Value, frozen=True, kw_only=True):
    """An attribute of the request and its values."""

    key: str
    values: list[str] = []
    not_values: list[str] = []


class Rule(Value, frozen=True):
    """Matches when its three parts do; an absent part always does, so an empty one is refused: who writes it means nobody."""

    from_: Annotated[list[From], Meta(min_length=1)] = field(default_factory=list, name="from")
    to: Annotated[list[To], Meta(min_length=1)] = []
    when: list[Condition] = []


class Provider(Value, frozen=True):
    """An external authorizer, by its name in MeshConfig."""

    name: str = ""


class AuthorizationPolicySpec(Value, frozen=True):
    """``spec`` of an AuthorizationPolicy. Without rules nothing matches; with an empty rule everything does."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTarget | None = None
    target_refs: list[PolicyTarget] = []
    rules: list[Rule] = []
    action: Action = Action.ALLOW
    provider: Provider | None = None


class AuthorizationPolicy(Fact, frozen=True):
    """Who may do what with some workloads."""

    spec: AuthorizationPolicySpec = field(default_factory=AuthorizationPolicySpec)


class JWTHeader(Value, frozen=True):
    """A header in which a token comes."""

    name: Text
    prefix: str = ""


class ClaimToHeader(Value, frozen=True):
    """A claim that becomes a header of the request."""

    header: Annotated[str, Meta(min_length=1, pattern=r"^[-_A-Za-z0-9]+$")]
    claim: Text


class Presence(enum.StrEnum):
    """Whether requests must have a token."""

    OPTIONAL = "OPTIONAL"
    REQUIRED = "REQUIRED"


class JWTRule(Value, frozen=True):
    """One issuer: where its tokens are and its keys come from."""

    ONE_OF = (("jwksUri", "jwks_uri", "jwks"),)

    issuer: Text = ""
    audiences: list[Text] = []
    jwks_uri: str = ""
    #: Istio's definitions have the old name beside the new one.
    jwks_uri_of_old: str = field(default="", name="jwks_uri")
    jwks: str = ""
    from_headers: list[JWTHeader] = []
    from_params: list[Text] = []
    from_cookies: list[Text] = []
    output_payload_to_header: str = ""
    forward_original_token: bool = False
    output_claim_to_headers: list[ClaimToHeader] = []
    timeout: Duration | None = None
    space_delimited_claims: list[Text] = []
    presence: Presence = Presence.OPTIONAL

    def __post_init__(self) -> None:
        """One field says it, whichever was written."""
        if not self.jwks_uri and self.jwks_uri_of_old:
            force_setattr(self, "jwks_uri", self.jwks_uri_of_old)
        force_setattr(self, "jwks_uri_of_old", "")


class RequestAuthenticationSpec(Value, frozen=True):
    """``spec`` of a RequestAuthentication."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTarget | None = None
    target_refs: list[PolicyTarget] = []
    jwt_rules: list[JWTRule] = []


class RequestAuthentication(Fact, frozen=True):
    """Which tokens of end users are accepted."""

    spec: RequestAuthenticationSpec = field(default_factory=RequestAuthenticationSpec)
