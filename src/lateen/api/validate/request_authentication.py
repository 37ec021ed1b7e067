"""Is this RequestAuthentication one that the mesh can honour?"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from lateen.api.authorization import JWTRule, RequestAuthentication
from lateen.api.validate import shared, texts
from lateen.api.validate.finding import Finding, Findings, check, warning


def request_authentication(it: RequestAuthentication) -> Findings:
    """``spec`` of a RequestAuthentication."""
    yield from shared.attachment(it.spec.selector, it.spec.target_ref, it.spec.target_refs)
    for index, rule in enumerate(it.spec.jwt_rules):
        yield from _rule(rule, f"spec.jwtRules[{index}]")


def _rule(it: JWTRule, at: str) -> Findings:
    if it.jwks_uri:
        yield from check(f"{at}.jwksUri", _uri(it.jwks_uri))
    if it.jwks:
        yield from check(f"{at}.jwks", _keys(it.jwks))
        if not _keys(it.jwks) and _private(it.jwks):
            yield warning(
                f"{at}.jwks", "has a private key, which everybody can read here: keep its public part only"
            )
    if it.timeout is not None:
        yield from check(f"{at}.timeout", texts.duration(it.timeout))
    if it.output_payload_to_header:
        yield from check(f"{at}.outputPayloadToHeader", texts.header_name(it.output_payload_to_header))
    for index, header in enumerate(it.from_headers):
        yield from check(f"{at}.fromHeaders[{index}].name", texts.header_name(header.name))
    headers: set[str] = set()
    for index, claim in enumerate(it.output_claim_to_headers):
        if (name := claim.header.lower()) in headers:
            yield Finding(f"{at}.outputClaimToHeaders[{index}].header", f'"{name}" is there twice')
        headers.add(name)


def _uri(text: str) -> str:
    try:
        found = urlsplit(text)
        _ = found.port  # raises for what is no number
    except ValueError as wrong:
        return f'"{text}" is not a URL: {wrong}'
    if found.scheme not in ("http", "https"):
        return f'"{text}": url must have scheme http:// or https://'
    return "" if found.hostname else f'"{text}" names no host'


def _private(text: str) -> bool:
    """Whether a key of the set could sign (RFC 7518, ``d`` of EC and RSA, ``k`` of secrets)."""
    found = json.loads(text)
    return any("d" in it or "k" in it for it in found.get("keys", [found]))


def _keys(text: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        return f"is no JSON: {wrong}"
    keys = found.get("keys") if isinstance(found, dict) else None
    if isinstance(found, dict) and isinstance(found.get("kty"), str):
        keys = [found]
    if not isinstance(keys, list) or not all(
        isinstance(it, dict) and isinstance(it.get("kty"), str) for it in keys
    ):
        return 'is not a JSON Web Key Set: {"keys": [{"kty": ...}]}'
    return ""
