"""The authority and certificate for development. That programs take them is shown by tests/docker/test_tls.py."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from pulumi_mlflow.core import certificates

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def load(pem):
    return x509.load_pem_x509_certificate(pem.encode())


def public(key_pem):
    return serialization.load_pem_private_key(key_pem.encode(), None).public_key()


def names(pem):
    found = load(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(general.value) for general in found}


def test_a_certificate_by_an_authority():
    issued = certificates.issue("mlflow-dev", ["mlflow.example.com", "10.0.0.5", "[fd00::1]"], NOW)
    ca, certificate = load(issued.ca), load(issued.certificate)
    certificate.verify_directly_issued_by(ca)
    ca.verify_directly_issued_by(ca)
    assert public(issued.key) == certificate.public_key()
    assert public(issued.ca_key) == ca.public_key()
    assert names(issued.certificate) == {
        "mlflow.example.com",
        "10.0.0.5",
        "fd00::1",
        "localhost",
        "127.0.0.1",
        "::1",
    }
    constraints = x509.BasicConstraints
    assert ca.extensions.get_extension_for_class(constraints).value.ca
    assert not certificate.extensions.get_extension_for_class(constraints).value.ca


@given(st.integers(0, 400))
def test_it_is_due_in_its_last_30_days(days):
    issued = ISSUED
    assert certificates.is_due(issued.certificate, NOW + days * DAY) == (days > 365 - 30)
    assert not certificates.is_due(issued.ca, NOW + days * DAY)


ISSUED = certificates.issue("mlflow-dev", [], NOW)


def test_the_authority_signs_again():
    later = certificates.issue("mlflow-dev", ["new.example.com"], NOW + 340 * DAY, ISSUED)
    assert later.ca == ISSUED.ca
    assert later.ca_key == ISSUED.ca_key
    assert later.key != ISSUED.key
    load(later.certificate).verify_directly_issued_by(load(ISSUED.ca))
    assert "new.example.com" in names(later.certificate)
    assert not certificates.is_due(later.certificate, NOW + 340 * DAY)


def test_an_authority_near_its_end_is_replaced_and_outlives_what_it_signs():
    late = NOW + 3600 * DAY
    again = certificates.issue("mlflow-dev", [], late, ISSUED)
    assert load(again.certificate).not_valid_after_utc <= load(ISSUED.ca).not_valid_after_utc
    anew = certificates.issue("mlflow-dev", [], NOW + 3625 * DAY, ISSUED)
    assert anew.ca != ISSUED.ca
    load(anew.certificate).verify_directly_issued_by(load(anew.ca))


def test_two_stacks_have_two_authorities():
    other = certificates.issue("mlflow-dev", [], NOW)
    assert other.ca_key != ISSUED.ca_key
    with pytest.raises(InvalidSignature):
        load(other.certificate).verify_directly_issued_by(load(ISSUED.ca))


def test_a_long_name_is_cut():
    issued = certificates.issue("x" * 200, [], NOW)
    [common] = load(issued.ca).subject
    assert len(common.value) == 64
    assert common.value.endswith("development CA")


def test_keys_are_not_shown():
    assert "PRIVATE KEY" not in repr(ISSUED)
