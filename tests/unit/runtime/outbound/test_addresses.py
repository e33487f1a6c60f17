"""What somebody's URL may lead to: the internet, and nothing that is nearer."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.outbound.addresses import Guard, parse_ranges

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"]
PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1",
    "fe80::1%eth0", "fd00:ec2::254", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "2002:7f00:1::1", "2002:a9fe:a9fe::", "2001:0:7f00:1::", "localhost", "", "1", "0x7f.1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_permitted(address):
    assert Guard().permits(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address):
    assert not Guard().permits(address)


def test_the_operator_can_open_a_range_and_no_more():
    guard = Guard(parse_ranges("10.1.0.0/16, 127.0.0.1"))
    assert guard.permits("10.1.2.3")
    assert guard.permits("127.0.0.1")
    assert guard.permits("::ffff:10.1.2.3")
    assert not guard.permits("10.2.0.1")
    assert not guard.permits("127.0.0.2")
    assert not guard.permits("::1")


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_private_in_every_dress_of_ipv6(address):
    number = int(address)
    dresses = [f"::ffff:{address}", str(ipaddress.IPv6Address((0x64FF9B << 96) | number))]
    for dress in dresses:
        assert Guard().permits(dress) == Guard().permits(str(address))


@pytest.mark.parametrize("text", ["10.0.0.0/33", "somewhere", "10.0.0.1/8"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_ranges(text)
