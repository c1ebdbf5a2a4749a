"""Weights of a route and the selector of a service, against an API with conflicts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import DefinitionError, RouterError
from pyflow.routers import GatewayRoute, KubernetesAPI, ServiceSelector
from pyflow.secrets import Secret
from pyflow.testing import check_router
from support.fake_kubernetes import FakeKubernetes, Object

ROUTE = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/shop"
SERVICE = "/api/v1/namespaces/default/services/shop"
TOKEN = "t0ken-of-the-account"


def backend(name: str, **more: Any) -> Object:
    return {"name": name, "port": 80, **more}


@pytest.fixture
def api() -> Iterator[tuple[FakeKubernetes, KubernetesAPI]]:
    """An API server with a route of two rules and a service."""
    other = {"matches": ["/admin"], "backendRefs": [backend("admin")]}
    rule = {
        "filters": ["f"],
        "backendRefs": [backend("shop-v1", weight=1), backend("shop-v2", weight=0)],
    }
    fake = FakeKubernetes(
        {
            ROUTE: {"kind": "HTTPRoute", "spec": {"hostnames": ["h"], "rules": [other, rule]}},
            SERVICE: {"kind": "Service", "spec": {"selector": {"app": "shop", "version": "v1"}}},
        },
        token=TOKEN,
    )
    with fake.serving() as url:
        yield fake, KubernetesAPI(url, token=Secret(TOKEN, name="cluster"))


Given = tuple[FakeKubernetes, KubernetesAPI]


def route(api: KubernetesAPI, **options: Any) -> GatewayRoute:
    given: dict[str, Any] = {"rule": 1, "backend": "shop-{version}"}
    return GatewayRoute(api, "shop", **{**given, **options})


def put(router: Any, weights: dict[str, float]) -> dict[str, float]:
    async def work() -> dict[str, float]:
        await router.set_weights("shop", weights)
        return await router.weights("shop")

    return asyncio.run(work())


class TestGatewayRoute:
    def test_keeps_the_contract(self, api: Given) -> None:
        """The router keeps its contract."""
        asyncio.run(check_router(lambda: route(api[1]), service="shop", versions=("v1", "v2")))

    def test_leaves_the_rest(self, api: Given) -> None:
        """A change of weights keeps the other rules, and what else is said of each backend."""
        fake, reach = api
        before = fake.objects[ROUTE]["spec"]

        assert put(route(reach), {"v1": 95, "v2": 5}) == {"v1": 95.0, "v2": 5.0}
        after = fake.objects[ROUTE]["spec"]
        assert (after["hostnames"], after["rules"][0]) == (["h"], before["rules"][0])
        assert after["rules"][1] == {
            "filters": ["f"],
            "backendRefs": [backend("shop-v1", weight=19), backend("shop-v2", weight=1)],
        }

    def test_overwrites_nobody(self, api: Given) -> None:
        """Where somebody else changes the route in between, their change stays, and so does ours."""
        fake, reach = api
        times = iter([1, 2])

        def meanwhile(one: Object) -> None:
            if next(times, None):
                one["spec"]["rules"][0]["matches"].append("/theirs")

        fake.meanwhile = meanwhile

        assert put(route(reach), {"v2": 100}) == {"v2": 100.0}
        assert fake.objects[ROUTE]["spec"]["rules"][0]["matches"] == [
            "/admin",
            "/theirs",
            "/theirs",
        ]

    def test_gives_up(self, api: Given) -> None:
        """Where somebody else always comes in between, it is an error after a few tries."""
        fake, reach = api
        fake.meanwhile = lambda one: one["spec"]["hostnames"].append("x")

        with pytest.raises(RouterError, match=r"somebody else changed .* 5 times"):
            put(route(reach), {"v2": 100})
        assert fake.requests == ["GET", "PATCH"] * 5

    def test_changes_nothing_twice(self, api: Given) -> None:
        """What is so already is not patched."""
        fake, reach = api
        put(route(reach), {"v1": 100})

        assert "PATCH" not in fake.requests

    def test_reads_what_is_not_said(self, api: Given) -> None:
        """A backend without a weight has weight 1, and one that is no version speaks for itself."""
        assert asyncio.run(route(api[1], rule=0).weights("shop")) == {"admin": 100.0}

    @pytest.mark.parametrize(
        ("weights", "options", "reason"),
        [
            ({"v3": 100}, {}, "v3 is no backend of the route; it has: v1, v2"),
            ({"v1": 100}, {"rule": 2}, "has 2 rules, and number 2"),
            ({"v1": 100}, {"namespace": "other"}, "gave 404: .*not found"),
        ],
    )
    def test_refuses(
        self, api: Given, weights: dict[str, float], options: dict[str, Any], reason: str
    ) -> None:
        """What the route does not have is an error that says what it has."""
        with pytest.raises(RouterError, match=reason):
            put(route(api[1], **options), weights)

    def test_refuses_twins(self, api: Given) -> None:
        """A version that is a backend twice has no weight of its own."""
        fake, reach = api
        fake.objects[ROUTE]["spec"]["rules"][1]["backendRefs"].append(backend("shop-v1"))

        with pytest.raises(RouterError, match="there twice"):
            put(route(reach), {"v1": 100})

    def test_refuses_names(self, api: Given) -> None:
        """Names that lead elsewhere, and backends without a version, are refused."""
        with pytest.raises(DefinitionError, match="no name of a namespace"):
            route(api[1], namespace="../kube-system")
        with pytest.raises(DefinitionError, match=r"needs one .version."):
            route(api[1], backend="shop")


class TestServiceSelector:
    def test_keeps_the_contract(self, api: Given) -> None:
        """The router keeps its contract, as one that gives one version everything."""
        make = lambda: ServiceSelector(api[1], "shop")  # noqa: E731

        asyncio.run(check_router(make, service="shop", versions=("v1", "v2"), splits=(0, 100)))

    def test_switches(self, api: Given) -> None:
        """The version that gets everything is selected, beside what else selects."""
        fake, reach = api

        assert put(ServiceSelector(reach, "shop"), {"v1": 0, "v2": 100}) == {"v2": 100.0}
        assert fake.objects[SERVICE]["spec"]["selector"] == {"app": "shop", "version": "v2"}
        put(ServiceSelector(reach, "shop"), {"v2": 100})
        assert fake.requests.count("PATCH") == 1

    def test_refuses_shares(self, api: Given) -> None:
        """A selector leads to one version."""
        with pytest.raises(RouterError, match="leads to one version"):
            put(ServiceSelector(api[1], "shop"), {"v1": 50, "v2": 50})

    def test_needs_a_label(self, api: Given) -> None:
        """A service that selects no version tells no weights."""
        with pytest.raises(RouterError, match="no label 'release'"):
            asyncio.run(ServiceSelector(api[1], "shop", label="release").weights("shop"))


class TestKubernetesAPI:
    @pytest.mark.parametrize("token", [TOKEN, lambda: TOKEN])
    def test_takes_tokens(self, api: Given, token: str | Callable[[], str]) -> None:
        """A token may be text, or be asked for at every request."""
        reach = KubernetesAPI(api[1]._url, token=token)

        assert asyncio.run(route(reach).weights("shop")) == {"v1": 100.0}

    def test_is_refused(self, api: Given) -> None:
        """A request without a good token is an error in the server's words."""
        with pytest.raises(RouterError, match=r"gave 401: 'Unauthorized'"):
            asyncio.run(route(KubernetesAPI(api[1]._url)).weights("shop"))

    def test_is_not_there(self) -> None:
        """A server that is not there is an error that says where."""
        with pytest.raises(RouterError, match=r"127\.0\.0\.1:1"):
            asyncio.run(route(KubernetesAPI("http://127.0.0.1:1")).weights("shop"))

    def test_in_a_cluster(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Inside a cluster the account's files are used, and its token is read at every request."""
        from pyflow.routers import kubernetes

        monkeypatch.setattr(kubernetes, "ACCOUNT", tmp_path)
        monkeypatch.setattr(ssl, "create_default_context", lambda cafile: cafile)
        reach = KubernetesAPI.in_cluster()
        for token in ("one", "two"):
            (tmp_path / "token").write_text(f"{token}\n")
            assert asyncio.run(reach._bearer()) == f"Bearer {token}"
        assert reach._context == tmp_path / "ca.crt"
