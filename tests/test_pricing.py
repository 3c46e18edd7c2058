"""Prices of machines: every one with its source, guesses marked."""

from __future__ import annotations

import pytest

from core.catalog import hardware
from core.goal import goal
from core.pricing import build_price, hosts_for, prices, whole_price
from core.quantity import Quantity
from core.solve_machines import Machine, machines, undominated


def test_every_price_of_a_build_is_marked_as_what_it_is() -> None:
    for whole in prices().machines:
        price = whole_price(whole)
        assert price.unit == "USD" and price.value > 0
        assert price.kind == "assumption" and price.source is not None and price.source.guess
    for host in prices().hosts:
        assert host.low is None or host.high is None or host.low <= host.price_usd <= host.high


def test_a_build_costs_its_cards_and_the_host_that_takes_them() -> None:
    card = hardware.device("RTX 4090")
    host = hosts_for(card, 2)[0]
    price = build_price(card, 2, host)
    assert isinstance(price, Quantity) and price.value == 2 * 1599 + host.price_usd
    alone = build_price(card, 2, None)
    assert alone is not None and alone.value == 2 * 1599
    assert {leaf.source.key for leaf in price.leaves() if leaf.source} == {"general-knowledge-hardware"}


def test_a_price_of_ones_own_goes_before_the_launch_price() -> None:
    price = build_price(hardware.device("RTX 3090?price_usd=700"), 2, None)
    assert price is not None and price.value == 1400 and price.kind == "user"


def test_hosts_come_cheapest_first_and_take_the_cards() -> None:
    card = hardware.device("RTX 4090")
    for cards in (1, 2, 4):
        found = hosts_for(card, cards)
        assert [host.price_usd for host in found] == sorted(host.price_usd for host in found)
        assert all(host.cards >= cards for host in found)
    assert not hosts_for(card, 8)  # no case takes eight consumer cards


@pytest.fixture(scope="module")
def listed() -> list[Machine]:
    return machines(goal({"models": "m"}))


def test_machines_are_told_apart_and_priced(listed: list[Machine]) -> None:
    assert len({(m.side, m.name) for m in listed}) == len(listed)
    for machine in listed:
        hardware.device(machine.system.device)
        assert (machine.usd_per_h is not None) == (machine.side == "cloud")
        assert (machine.price is not None) == (machine.side == "build")


def test_what_is_pruned_is_beaten_by_what_stays(listed: list[Machine]) -> None:
    asked = goal({"models": "m"})
    kept = undominated(listed, asked)
    assert 0 < len(kept) < len(listed)
    names = {m.name for m in kept}
    for machine in [m for m in listed if m.name not in names][::20]:
        device = hardware.device(machine.system.device)
        assert any(
            other.side == machine.side
            and other.system.count <= machine.system.count
            and (other.usd_per_h or other.purchase_usd or 0) <= (machine.usd_per_h or machine.purchase_usd or 0)
            and (hardware.device(other.system.device).memory_bandwidth_gb_s or 0) >= (device.memory_bandwidth_gb_s or 0)
            for other in kept
        ), machine.name


def test_region_provider_terms_and_devices_narrow_the_list() -> None:
    def found(**changes: object) -> list[Machine]:
        return machines(goal({"models": "m", "hardware": ["cloud"], **changes}))

    assert {m.name.split(" ")[0] for m in found(providers=["aws"])} == {"AWS"}
    assert not [m for m in found(region="us-central1") if m.name.startswith("AWS")]
    assert [m for m in found(region="us-central1") if m.name.startswith("RunPod")]  # its price is that of any region
    assert all(m.system.device == "H200 SXM 141GB" or "H200" in m.system.device for m in found(devices=["H200"]))
    assert found(terms=["serverless"]) and not {m.name for m in found(terms=["serverless"])} & {m.name for m in found()}
    assert all(m.system.count <= 2 for m in found(max_devices=2))
