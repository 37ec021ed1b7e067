"""Are the generated messages those of ``demo.proto``?"""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

import boutique
from boutique.pb import demo_pb2

FOLDER = Path(boutique.__file__).parent


def test_generated_messages_are_those_of_the_proto(tmp_path: Path) -> None:
    protoc = pytest.importorskip(
        "grpc_tools.protoc",
        reason="grpcio-tools is not installed: demo_pb2.py is not compared with demo.proto",
    )
    found = tmp_path / "demo.pb"
    assert (
        protoc.main(["protoc", f"-I{FOLDER}", f"--descriptor_set_out={found}", str(FOLDER / "demo.proto")])
        == 0
    )
    (fresh,) = descriptor_pb2.FileDescriptorSet.FromString(found.read_bytes()).file
    kept = descriptor_pb2.FileDescriptorProto()
    demo_pb2.DESCRIPTOR.CopyToProto(kept)
    kept.name = fresh.name = "demo.proto"
    for field in (field for message in fresh.message_type for field in message.field):
        field.ClearField("json_name")  # protoc writes what a descriptor in memory leaves to be computed
    assert kept == fresh


def test_services_have_the_names_that_clients_of_online_boutique_call() -> None:
    services = demo_pb2.DESCRIPTOR.services_by_name
    assert demo_pb2.DESCRIPTOR.package == "hipstershop"
    assert {name: sorted(it.name for it in service.methods) for name, service in services.items()} == {
        "CartService": ["AddItem", "EmptyCart", "GetCart"],
        "RecommendationService": ["ListRecommendations"],
        "ProductCatalogService": ["GetProduct", "ListProducts", "SearchProducts"],
        "ShippingService": ["GetQuote", "ShipOrder"],
        "CurrencyService": ["Convert", "GetSupportedCurrencies"],
        "PaymentService": ["Charge"],
        "EmailService": ["SendOrderConfirmation"],
        "CheckoutService": ["PlaceOrder"],
        "AdService": ["GetAds"],
    }
