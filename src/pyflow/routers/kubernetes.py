"""Shift traffic in Kubernetes: the weights of an HTTPRoute, or the selector of a Service.

Plain REST. Every change is a read, and a patch that holds what was read: the
``resourceVersion``. If somebody else has changed the object in between, the
server answers 409 and nothing is lost; it is read anew, and changed again.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pyflow.errors import DefinitionError, HTTPError, RouterError, shown
from pyflow.net.http import request
from pyflow.net.proxy import as_proxy
from pyflow.redactor import hidden
from pyflow.routers._weights import checked, percentages, whole
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyflow.net.headers import HeaderValue
    from pyflow.net.proxy import Proxy
    from pyflow.secrets import Secret

__all__ = ["GatewayRoute", "KubernetesAPI", "ServiceSelector"]

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
CONFLICT = 409
TRIES = 5
WEIGHT_MAX = 1_000_000
WHOLE = 100.0
MERGE = "application/merge-patch+json"

Object: TypeAlias = dict[str, Any]


class KubernetesAPI:
    """How to reach the API server of a cluster.

    Args:
        url: Such as ``https://10.0.0.1:443``.
        token: The bearer token: text, a `Secret`, or a function that is asked
            for it at every request, because such tokens change.
        ca_file: The certificates that it is known by; the system's unless given.
        timeout: How long one request may take.
        proxy: A `Proxy`, or its URL, to go through; by default none, whatever the
            environment says.
    """

    def __init__(
        self,
        url: str,
        *,
        token: HeaderValue | Callable[[], str] | None = None,
        ca_file: str | Path | None = None,
        timeout: Span = "10s",
        proxy: Proxy | Secret | str | None = None,
    ) -> None:
        self._proxy = as_proxy(proxy)
        self._url = url.rstrip("/")
        self._token = token
        self._context = None if ca_file is None else ssl.create_default_context(cafile=ca_file)
        self._timeout_s = seconds(timeout, what="KubernetesAPI(timeout=)")

    def __repr__(self) -> str:
        return f"KubernetesAPI({self._url!r})"

    @classmethod
    def in_cluster(cls, url: str = "https://kubernetes.default.svc") -> KubernetesAPI:
        """Return the API of the cluster that this process runs in, by its service account."""
        token = ACCOUNT / "token"
        return cls(url, token=lambda: token.read_text().strip(), ca_file=ACCOUNT / "ca.crt")

    async def get(self, service: str, path: str) -> Object:
        """Return an object.

        Raises:
            RouterError: There is none, or the server gives no usable answer.
        """
        return await self._ask(service, "GET", path)

    async def patch(self, service: str, path: str, change: Object) -> Object | None:
        """Merge *change* into an object and return it, or None where somebody else was faster.

        Raises:
            RouterError: The server refuses, or gives no usable answer.
        """
        return await self._ask(service, "PATCH", path, change, conflict=True)

    async def _ask(
        self,
        service: str,
        method: str,
        path: str,
        change: Object | None = None,
        *,
        conflict: bool = False,
    ) -> Any:
        headers: dict[str, HeaderValue] = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = await self._bearer()
        if change is not None:
            headers["Content-Type"] = MERGE
        body = None if change is None else json.dumps(change).encode()
        try:
            answer = await request(
                method,
                self._url + path,
                headers=headers,
                body=body,
                timeout=self._timeout_s,
                ssl_context=self._context,
                proxy=self._proxy,
            )
            found: object = answer.json()
        except HTTPError as error:
            raise RouterError(service, str(error)) from error
        if answer.status == CONFLICT and conflict:
            return None
        if not isinstance(found, dict) or answer.status >= 300:
            said = cast("Object", found).get("message") if isinstance(found, dict) else answer.text
            said = shown(hidden(str(said), (self._token, self._proxy)))
            raise RouterError(service, f"{method} {path} gave {answer.status}: {said}")
        return cast("Object", found)

    async def _bearer(self) -> str:
        token = self._token
        if callable(token):
            return f"Bearer {await asyncio.to_thread(token)}"
        if isinstance(token, str):
            return f"Bearer {token}"
        assert token is not None
        return f"Bearer {await asyncio.to_thread(token.reveal)}"


class _Object:
    """An object of the API that says who gets the traffic."""

    def __init__(self, api: KubernetesAPI, path: str, names: Mapping[str, str]) -> None:
        problems = [
            f"{shown(name)} is no name of {what}"
            for what, name in names.items()
            if not NAME.fullmatch(name)
        ]
        if problems:
            raise DefinitionError(type(self).__name__, problems)
        self._api = api
        self._path = path

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path.rpartition('/')[2]!r})"

    async def _change(self, service: str, make: Callable[[Object], Object | None]) -> None:
        """Read, and patch what *make* says of it, until nobody else comes in between.

        *make* returns None where nothing is to change.
        """
        for _ in range(TRIES):
            present = await self._api.get(service, self._path)
            change = make(present)
            if change is None:
                return
            version = present["metadata"]["resourceVersion"]
            change = {**change, "metadata": {"resourceVersion": version}}
            if await self._api.patch(service, self._path, change) is not None:
                return
        text = f"somebody else changed {self._path} {TRIES} times while it was to be changed"
        raise RouterError(service, text)


class GatewayRoute(_Object):
    """A `Router`: the weights of one rule of a Gateway API HTTPRoute.

    Each version is a backend, a Service by name. A patch replaces the list of
    backends, and keeps whatever else is said of each.

    Args:
        api: How to reach the cluster.
        name: The HTTPRoute.
        namespace: Where it is.
        rule: Which of its rules, from 0.
        backend: The Service of a version is named like this, where
            ``{version}`` stands for it.
    """

    def __init__(
        self,
        api: KubernetesAPI,
        name: str,
        *,
        namespace: str = "default",
        rule: int = 0,
        backend: str = "{version}",
    ) -> None:
        group = "/apis/gateway.networking.k8s.io/v1"
        path = f"{group}/namespaces/{namespace}/httproutes/{name}"
        super().__init__(api, path, {"a route": name, "a namespace": namespace})
        if backend.count("{version}") != 1:
            raise DefinitionError(
                "GatewayRoute", [f"backend={shown(backend)} needs one {{version}}"]
            )
        self._rule = rule
        self._before, _, self._after = backend.partition("{version}")

    async def weights(self, service: str, /) -> dict[str, float]:
        """Return the weights of the rule.

        Raises:
            RouterError: The route cannot be read, or nothing gets any traffic.
        """
        rules = self._rules(service, await self._api.get(service, self._path))
        shares: dict[str, int] = {}
        for backend in rules[self._rule].get("backendRefs", []):
            version = self._version(backend["name"])
            shares[version] = shares.get(version, 0) + int(backend.get("weight", 1))
        return percentages(service, shares)

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        """Put *weights* in force, all in one patch.

        Raises:
            RouterError: They are no weights, or a version is no backend of the
                rule, and nothing was changed; or the server refuses.
        """
        wanted = checked(service, weights)
        numbers = whole(service, wanted, dict.fromkeys(wanted, 1), most=WEIGHT_MAX)

        def make(route: Object) -> Object | None:
            rules = self._rules(service, route)
            backends: list[Object] = rules[self._rule].get("backendRefs", [])
            known = [self._version(backend["name"]) for backend in backends]
            missing = [version for version in wanted if version not in known]
            if missing:
                raise RouterError(
                    service,
                    f"{', '.join(missing)} is no backend of the route; it has: {', '.join(known)}",
                )
            if len(set(known)) != len(known):
                raise RouterError(service, f"a backend of the route is there twice: {known}")
            fresh = [
                {**backend, "weight": numbers.get(version, 0)}
                for backend, version in zip(backends, known, strict=True)
            ]
            if fresh == backends:
                return None
            changed = [
                {**rule, "backendRefs": fresh} if number == self._rule else rule
                for number, rule in enumerate(rules)
            ]
            return {"spec": {"rules": changed}}

        await self._change(service, make)

    def _rules(self, service: str, route: Object) -> list[Object]:
        rules: list[Object] = route.get("spec", {}).get("rules", [])
        if not 0 <= self._rule < len(rules):
            text = f"the route has {len(rules)} rules, and number {self._rule} was asked for"
            raise RouterError(service, text)
        return rules

    def _version(self, name: str) -> str:
        """Return the version whose backend *name* is; one that is none of ours speaks for itself."""
        inner = name.removeprefix(self._before).removesuffix(self._after)
        return inner if f"{self._before}{inner}{self._after}" == name else name


class ServiceSelector(_Object):
    """A `Router`: the selector of a Service, which leads to one version at a time.

    Args:
        api: How to reach the cluster.
        name: The Service.
        namespace: Where it is.
        label: The label of its pods that says the version.
    """

    def __init__(
        self,
        api: KubernetesAPI,
        name: str,
        *,
        namespace: str = "default",
        label: str = "version",
    ) -> None:
        path = f"/api/v1/namespaces/{namespace}/services/{name}"
        super().__init__(api, path, {"a service": name, "a namespace": namespace})
        self._label = label

    async def weights(self, service: str, /) -> dict[str, float]:
        """Return all of the weight for the version that is selected.

        Raises:
            RouterError: The Service cannot be read, or selects no version.
        """
        found = await self._api.get(service, self._path)
        selected = _selector(found).get(self._label)
        if not selected:
            raise RouterError(service, f"the selector has no label {self._label!r}")
        return {selected: WHOLE}

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        """Select the version whose weight is 100.

        Raises:
            RouterError: No version has all of the weight, and nothing was
                changed; or the server refuses.
        """
        wanted = checked(service, weights)
        if len(wanted) != 1:
            text = f"{shown(wanted)}: a selector leads to one version; give one of them 100"
            raise RouterError(service, text)
        [version] = wanted

        def make(found: Object) -> Object | None:
            if _selector(found).get(self._label) == version:
                return None
            return {"spec": {"selector": {self._label: version}}}

        await self._change(service, make)


def _selector(service: Object) -> dict[str, str]:
    return cast("dict[str, str]", service.get("spec", {}).get("selector") or {})
