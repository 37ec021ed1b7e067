"""A CA that changes while leaves of the old one live, and one that has ended."""

from __future__ import annotations

import secrets
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.authority import serving
from lateen.authority.holder import LONGEST, SPREAD, AuthorityHolder, certificates
from lateen.authority.store import Authority
from lateen.pki.authority import RefusedError
from lateen.pki.certificates import pem, self_signed

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def authority(name: str, *, begins: datetime = NOW, ttl: timedelta = timedelta(days=99)) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    root = self_signed(key, name, serial=secrets.randbits(64) | 1, now=begins, ttl=ttl)
    return Authority(root, pem(root.certificate), name)


@pytest.mark.finding("architecture 16")
def test_a_new_root_is_trusted_before_it_signs_and_the_old_while_its_leaves_live() -> None:
    old, new, told = authority("old"), authority("new"), list[bytes]()
    it = AuthorityHolder(old, now=NOW)
    it.listeners.append(lambda: told.append(it.roots_pem))
    it.heard(old, NOW)
    assert not told, "nothing has changed"
    it.heard(new, NOW)
    assert (it.signing, it.roots_pem) == (old, old.root_pem + new.root_pem)
    it.heard(new, NOW + SPREAD / 2)
    assert it.signing == old
    switched = NOW + SPREAD
    it.passed(switched)
    assert (it.signing, it.roots_pem) == (new, new.root_pem + old.root_pem)
    it.passed(switched + LONGEST - timedelta(seconds=1))
    assert it.roots_pem == new.root_pem + old.root_pem
    it.passed(switched + LONGEST)
    assert it.roots_pem == new.root_pem
    assert told == [old.root_pem + new.root_pem, new.root_pem + old.root_pem, new.root_pem]


@pytest.mark.finding("architecture 16")
def test_a_root_that_is_trusted_already_and_a_ca_that_has_ended_need_no_waiting() -> None:
    old, new = authority("old", ttl=timedelta(days=1)), authority("new")
    it = AuthorityHolder(old, new.root_pem, now=NOW)
    it.heard(new, NOW)
    assert it.signing == new, "an earlier control plane has told everybody"
    it = AuthorityHolder(old, now=NOW)
    it.heard(new, NOW + timedelta(days=2))
    assert it.signing == new


@pytest.mark.finding("architecture 16")
def test_back_again_and_rubbish_among_the_older_roots() -> None:
    old, new = authority("old"), authority("new")
    it = AuthorityHolder(old, b"rubbish", now=NOW)
    it.heard(new, NOW)
    it.heard(old, NOW + timedelta(seconds=20))
    it.passed(NOW + SPREAD)
    assert it.signing == old
    assert set(certificates(it.roots_pem)) >= set(certificates(old.root_pem))


@pytest.mark.finding("architecture 9")
def test_an_ended_ca_is_told_with_its_date() -> None:
    ended = authority("cacerts", begins=datetime(2020, 1, 1, tzinfo=UTC), ttl=timedelta(days=1))
    words = "Secret cacerts: the CA's certificate ended at 2020-01-02 00:00:00 UTC: put a new one there"
    with pytest.raises(RefusedError, match=words):
        serving.server_context(ended, ["istiod"], clients=True)
    with pytest.raises(RefusedError, match=words):
        serving.fill(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ended, ["istiod"])
