"""Tokens of an issuer: who is taken for whom, what a customer may read, and what no token can bring about."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from test_statements import statements_read

from exchanges import check_problem, journey_of, store
from issuing import JWKS, Issuer, issuing, part, private, public
from percorso.settings import Settings
from support import Make, running
from writing import Database, until

SEGMENTS = "/v1/segments"
Service = tuple[Issuer, httpx.AsyncClient]


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    """An issuer, and a service that takes its tokens; what a customer's token names is an email."""
    async with issuing() as issuer, running(database_url, jwt_customer_kind="email", **issuer.settings) as (_, client):
        yield issuer, client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def status(client: httpx.AsyncClient, token: str, path: str = SEGMENTS) -> int:
    return (await client.get(path, headers=bearer(token))).status_code


async def refused(client: httpx.AsyncClient, token: str) -> str:
    """The token is not taken; what is said of it."""
    answer = await client.get(SEGMENTS, headers=bearer(token))
    detail: str = check_problem(answer, 401, "unauthorized")["detail"]
    assert answer.headers["www-authenticate"].startswith("Bearer")
    return detail


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_is_taken_by_each_algorithm(database_url: str, algorithm: str) -> None:
    async with issuing(one=algorithm) as issuer, running(database_url, **issuer.settings) as (_, client):
        assert await status(client, issuer.token("read")) == 200
        assert await status(client, issuer.token("write")) == 403
        others = [each for each in ("RS256", "ES256", "EdDSA") if each != algorithm]
    async with (
        issuing(one=algorithm) as issuer,
        running(database_url, jwt_algorithms=others, **issuer.settings) as (_, client),
    ):
        assert await refused(client, issuer.token("read")) == "The token is not valid."


async def test_scopes_are_read_from_the_claim_and_by_the_words_that_the_settings_name(database_url: str) -> None:
    words = {"reader": ("read",), "clerk": ("read", "ingest")}
    given = {"jwt_scope_claim": "realm_access.roles", "jwt_scopes": words}
    async with issuing() as issuer, running(database_url, **given, **issuer.settings) as (_, client):
        for roles, expected in (
            (["clerk"], 200),
            (["other", "reader"], 200),
            ("other reader", 200),
            (["percorso:read"], 403),
            ([], 403),
            ([["reader"], 5, None], 403),
            ({"reader": True}, 403),
            (7, 403),
        ):
            assert await status(client, issuer.token(realm_access={"roles": roles})) == expected, roles
        assert await status(client, issuer.token(others={"realm_access.roles": ["reader"]})) == 200
        assert await status(client, issuer.token("read", realm_access="reader")) == 403


async def test_a_customers_token_reads_their_own_journey_and_summary_and_nothing_else(
    service: Service, make: Make
) -> None:
    issuer, client = service
    await store(client, make(customer={"crm_id": "A-1"}), make(customer={"email": "anna@example.com", "crm_id": "A-1"}))
    await store(client, make(channel="web"))
    await store(client, make(customer={"email": "beppe@example.com"}))
    anna = bearer(issuer.token("customer", sub="Anna@Example.com"))
    read = await client.get(journey_of("email:anna@example.com"), headers=anna)
    assert read.status_code == 200
    assert len(read.json()["items"]) == 3
    assert (await client.get("/v1/customers/email:ANNA@example.com/summary", headers=anna)).status_code == 200
    said = set()
    for path in (
        journey_of("email:beppe@example.com"),
        journey_of("email:nobody@example.com"),
        journey_of("crm_id:A-1"),
        journey_of(read.json()["customer_id"]),
        journey_of("no such form"),
        "/v1/customers/email:beppe@example.com/summary",
        "/v1/customers/email:anna@example.com%2Fx/summary",
        "/v1/customers/email:anna@example.com/episodes",
        "/v1/customers/email:anna@example.com/identity",
        "/v1/customers/email:anna@example.com",
        "/v1/customers",
        SEGMENTS,
        "/v1/keys",
    ):
        answer = await client.get(path, headers=anna)
        said.add(check_problem(answer, 403, "forbidden")["detail"])
    assert len(said) == 1
    posted = await client.post("/v1/interactions", json=make(), headers=anna)
    check_problem(posted, 403, "forbidden")


async def test_a_customers_token_is_not_widened_by_what_else_it_may(service: Service, make: Make) -> None:
    issuer, client = service
    await store(client, make())
    token = issuer.token("customer read admin", sub="beppe@example.com")
    assert await status(client, token) == 403
    assert await status(client, token, journey_of("email:anna@example.com")) == 403
    # Nobody has heard of them yet: that is their own affair.
    assert await status(client, token, journey_of("email:beppe@example.com")) == 404


async def test_another_customer_is_refused_alike_whether_there_is_one_or_not_and_without_a_look(
    database_url: str, make: Make
) -> None:
    async with (
        issuing() as issuer,
        running(database_url, jwt_customer_kind="email", **issuer.settings) as (app, client),
    ):
        await store(client, make())
        beppe = bearer(issuer.token("customer", sub="beppe@example.com")) | {"X-Request-Id": "same"}
        answers = []
        for customer in ("email:anna@example.com", "email:none@example.com"):
            async with statements_read(app) as seen:
                answer = await client.get(journey_of(customer), headers=beppe)
            assert seen == []
            answers.append((answer.status_code, answer.content, answer.headers.multi_items()))
        assert answers[0] == answers[1]
        assert answers[0][0] == 403


async def test_a_customer_can_be_named_by_another_claim_and_kind(database_url: str, make: Make) -> None:
    given = {"jwt_customer_claim": "https://shop.example/customer", "jwt_customer_kind": "crm_id"}
    async with issuing() as issuer, running(database_url, **given, **issuer.settings) as (_, client):
        await store(client, make(customer={"crm_id": "A-1"}))
        token = issuer.token("customer", others={"https://shop.example/customer": "A-1"})
        assert await status(client, token, journey_of("crm_id:A-1")) == 200
        assert await status(client, token, journey_of("crm_id:A-2")) == 403
        for value in (None, 17, ["A-1"], "", " ", {"id": "A-1"}):
            unnamed = issuer.token("customer", others={"https://shop.example/customer": value})
            assert await refused(client, unnamed) == "The token does not name its customer."


async def test_who_comes_with_a_token_is_named_by_a_hash_or_by_the_claim_that_says_it(
    database_url: str, database: Database, make: Make
) -> None:
    async with (
        issuing() as issuer,
        running(database_url, jwt_customer_kind="email", jwt_name_claim="client_id", **issuer.settings) as (_, client),
    ):
        await store(client, make())
        path = journey_of("email:anna@example.com")
        await status(client, issuer.token("customer"), path)
        await status(client, issuer.token("read"), path)
        await status(client, issuer.token("read", sub="another"), path)
        await status(client, issuer.token("read", client_id="crm-connector"), path)
        await status(client, issuer.token("read", client_id="x y\n"), path)
    rows = await database.fetch("SELECT actor, key_id FROM audit_log ORDER BY seq")
    actors = [row["actor"] for row in rows]
    assert [row["key_id"] for row in rows] == [None] * 5
    assert all(actor.startswith("token:") for actor in actors)
    assert actors[0] == actors[1] == actors[4] != actors[2]
    assert actors[3] == "token:crm-connector"
    assert not any("anna" in actor for actor in actors)


async def test_a_token_writes_and_ingests_under_its_name_and_subscribes_to_nothing(
    service: Service, make: Make
) -> None:
    issuer, client = service
    headers = bearer(issuer.token("ingest read write privacy"))
    receipt = await client.post("/v1/interactions", json=make(), headers=headers)
    assert receipt.status_code == 201
    page = await client.post(
        "/segment/v1/page", json={"userId": "u-1", "messageId": "m-1", "name": "Home"}, headers=headers
    )
    assert page.status_code == 200, page.text
    one = f"/v1/interactions/{receipt.json()['interaction_id']}"
    assert (await client.patch(one, json={"resolution": "resolved"}, headers=headers)).status_code == 200
    callback = {"callback": "https://8.8.8.8/"}
    hub = "/tmf-api/partyInteraction/v4/hub"
    assert (await client.post(hub, json=callback, headers=headers)).status_code == 403
    made = (await client.post(hub, json=callback)).json()["id"]
    assert (await client.delete(f"{hub}/{made}", headers=headers)).status_code == 403
    erased = await client.delete("/v1/customers/email:anna@example.com", headers=headers)
    assert erased.status_code == 200, erased.text


async def test_hostile_tokens_are_refused_alike_and_cause_no_request(service: Service) -> None:
    issuer, client = service
    good = issuer.token("admin")
    assert await status(client, good) == 200
    head, body, signature = good.split(".")
    kid, (_, key) = next(iter(issuer.signing.items()))
    stranger = private("ES256")
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    now = datetime.now(UTC)
    hour = timedelta(hours=1)

    def with_header(**members: Any) -> str:
        return jwt.encode(issuer.claims("admin"), stranger, algorithm="ES256", headers={"kid": kid} | members)

    def hmac(secret: bytes, **header: Any) -> str:
        signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': kid} | header)}.{part(json_claims(issuer))}"
        made = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed.encode(), secret)
        return f"{signed}.{part(made)}"

    asked = len(issuer.asked)
    evil = f"{issuer.url}/evil"
    nesting = part({"alg": "ES256", "cty": "JWT", "kid": kid})
    objects, lists = b'{"a":' * 1000, b'{"a":' + b"[" * 5000
    hostile = {
        "no algorithm": f"{part({'alg': 'none', 'kid': kid})}.{body}.",
        "no algorithm in other letters": f"{part({'alg': 'nOnE', 'kid': kid})}.{body}.{signature}",
        "the public key as a secret": hmac(pem),
        "the public key as a secret, without its line break": hmac(pem.strip()),
        "the set as a secret": hmac(json.dumps(issuer.keys[0]).encode()),
        "an empty secret": hmac(b""),
        "a strange algorithm": f"{part({'alg': ['ES256'], 'kid': kid})}.{body}.{signature}",
        "an algorithm that is not taken": f"{part({'alg': 'ES512', 'kid': kid})}.{body}.{signature}",
        "another algorithm than the key's": f"{part({'alg': 'RS256', 'kid': kid})}.{body}.{signature}",
        "a wrong key": with_header(),
        "its own key": with_header(jwk=public(stranger, kid)),
        "where its key is": with_header(jku=evil, x5u=evil),
        "its own certificate": with_header(x5c=[b64encode(pem).decode()]),
        "something critical": issuer.token("admin", headers={"crit": ["exp"], "exp": 1}),
        "another type": issuer.token("admin", headers={"typ": "logout+jwt"}),
        "no signature": f"{head}.{body}.",
        "half a signature": f"{head}.{body}.{signature[:40]}",
        "zeros for a signature": f"{head}.{body}.{part(bytes(64))}",
        "other claims": f"{head}.{part(json_claims(issuer) | {'sub': 'other'})}.{signature}",
        "another header": f"{part({'alg': 'ES256', 'kid': kid, 'x': 1})}.{body}.{signature}",
        "not base64": f"eyJ!!!.{body}.{signature}",
        "no JSON": f"eyJ{part(b'x')}.{body}.{signature}",
        "a list": f"eyJ.{part([1])}.{signature}",
        "deep nesting": f"{part(objects)}.{body}.{signature}",
        "deeper nesting": f"{part(lists)}.{body}.{signature}",
        "a token within a token": f"{nesting}.{part(good.encode())}.{signature}",
        "an id that is no text": f"{part({'alg': 'ES256', 'kid': {'$ne': 1}})}.{body}.{signature}",
        "no id of a key": jwt.encode(issuer.claims("admin"), stranger, algorithm="ES256"),
        "large": issuer.token("admin", padding="x" * 9000),
        "huge": good + "A" * 100_000,
        "not begun": issuer.token("admin", nbf=now + hour),
        "issued tomorrow": issuer.token("admin", iat=now + hour),
        "an end that is no number": issuer.token("admin", exp="never"),
        "an endless end": endless(issuer),
        "another audience": issuer.token("admin", aud="others"),
        "no audience": issuer.token("admin", aud=None),
        "another issuer": issuer.token("admin", iss="https://evil.example"),
        "an issuer that begins alike": issuer.token("admin", iss=f"{issuer.url}/"),
        "a list of issuers": f"{head}.{part(json_claims(issuer) | {'iss': [issuer.url]})}.{signature}",
        "no issuer": issuer.token("admin", iss=None),
        "no end": issuer.token("admin", exp=None),
        "no subject": issuer.token("admin", sub=None),
    }
    for what, token in hostile.items():
        assert await refused(client, token) in {"The token is not valid.", "The key is not valid."}, what
    assert await refused(client, issuer.token("admin", exp=now - hour)) == "The token has expired."
    assert len(issuer.asked) == asked
    assert await status(client, good) == 200


async def test_ids_of_keys_that_are_tricks_cause_one_request_at_most(service: Service) -> None:
    issuer, client = service
    assert await status(client, issuer.token("read")) == 200
    asked = len(issuer.asked)
    for kid in (
        "../../../../etc/passwd",
        "/dev/null",
        f"{issuer.url}/evil",
        "' OR 1=1; DROP TABLE api_keys; --",
        "one\0",
        "",
        "x" * 4000,
        "__class__",
    ):
        assert await refused(client, issuer.token("admin", headers={"kid": kid})) == "The token is not valid."
    assert issuer.asked[asked:] in ([], [JWKS])


def json_claims(issuer: Issuer) -> dict[str, Any]:
    """Valid claims, as they stand in a token."""
    claims: dict[str, Any] = jwt.decode(issuer.token("admin"), options={"verify_signature": False})
    return claims


def endless(issuer: Issuer) -> str:
    """A token that is rightly signed, and whose end no clock reaches."""
    kid, (_, key) = next(iter(issuer.signing.items()))
    claims = json.dumps(json_claims(issuer) | {"exp": 0}).replace('"exp": 0', '"exp": 1e999').encode()
    return jwt.api_jws.PyJWS().encode(claims, key, algorithm="ES256", headers={"kid": kid})


async def test_the_header_is_sent_once_or_refused(service: Service, make: Make) -> None:
    issuer, client = service
    good = f"Bearer {issuer.token('admin')}"
    key = client.headers.pop("Authorization")
    for first, second in ((good, good), (good, "Bearer x"), (key, good), (key, key), ("Basic eDo=", key)):
        twice = [("Authorization", first), ("Authorization", second)]
        for path in ("/v1/interactions", "/v1/cloudevents", "/segment/v1/page", "/v1/interactions/batch"):
            answer = await client.post(path, json=make(), headers=twice)
            check_problem(answer, 401, "unauthorized")
        check_problem(await client.get(SEGMENTS, headers=twice), 401, "unauthorized")


async def test_without_an_issuer_no_token_is_taken(client: httpx.AsyncClient) -> None:
    async with issuing() as issuer:
        assert await refused(client, issuer.token("admin")) == "The key is not valid."
        assert issuer.asked == []


async def test_an_audience_must_be_named_with_the_issuer() -> None:
    with pytest.raises(ValueError, match="PERCORSO_JWT_AUDIENCE is needed"):
        Settings(_env_file=None, jwt_issuer="https://issuer.example")


async def test_clocks_may_differ_by_the_leeway(database_url: str) -> None:
    now = datetime.now(UTC)
    async with issuing() as issuer, running(database_url, jwt_leeway_seconds=60, **issuer.settings) as (_, client):
        for seconds, expected in ((-50, 200), (-70, 401)):
            assert await status(client, issuer.token("read", exp=now + timedelta(seconds=seconds))) == expected
        for seconds, expected in ((50, 200), (70, 401)):
            assert await status(client, issuer.token("read", nbf=now + timedelta(seconds=seconds))) == expected


async def test_a_token_that_was_remembered_ends_at_its_moment(database_url: str) -> None:
    given = {"key_cache_seconds": 3600, "jwt_leeway_seconds": 0}
    async with issuing() as issuer, running(database_url, **given, **issuer.settings) as (_, client):
        token = issuer.token("read", exp=datetime.now(UTC) + timedelta(minutes=1))
        assert await status(client, token) == 200
        with time_machine.travel(datetime.now(UTC) + timedelta(minutes=2)):
            assert await status(client, token) == 401


async def test_the_keys_are_found_through_the_issuers_configuration(database_url: str) -> None:
    async with issuing() as issuer:
        given = issuer.settings | {"jwt_jwks_url": None}
        configuration = {"issuer": issuer.url, "jwks_uri": issuer.url + JWKS}
        for said, expected in (
            (configuration, 200),
            (configuration | {"issuer": "https://evil.example"}, 503),
            (configuration | {"jwks_uri": "file:///etc/passwd"}, 503),
            (configuration | {"jwks_uri": 5}, 503),
            ([], 503),
        ):
            issuer.answers["/.well-known/openid-configuration"] = 200, json.dumps(said).encode()
            async with running(database_url, **given) as (_, client):
                assert await status(client, issuer.token("read")) == expected, said


async def test_a_new_key_of_the_issuer_is_fetched_when_a_token_names_it_and_an_old_one_goes(
    database_url: str,
) -> None:
    async with issuing() as issuer, running(database_url, key_cache_seconds=1, **issuer.settings) as (_, client):
        assert await status(client, issuer.token("read")) == 200
        issuer.add("two", "EdDSA")
        del issuer.keys[0]
        # Within the time that must pass between two fetches, it is not known.
        assert await status(client, issuer.token("read", kid="two")) == 401
        assert issuer.asked == [JWKS]
        await later(client, 31)
        found = await asyncio.gather(*(status(client, issuer.token("read", kid="two")) for _ in range(20)))
        assert found == [200] * 20
        assert issuer.asked == [JWKS, JWKS]
        assert await status(client, issuer.token("read", kid="one")) == 401


async def later(client: httpx.AsyncClient, seconds: float) -> None:
    """Let the service think that its last fetch of keys is so long ago."""
    keys = client._transport.app.state.services.tokens._keys  # type: ignore[attr-defined] # noqa: SLF001 - its clock is its own
    keys._tried -= seconds  # noqa: SLF001 - as above
    if keys._fetched is not None:  # noqa: SLF001 - as above
        keys._fetched -= seconds  # noqa: SLF001 - as above


async def test_keys_outlive_an_issuer_that_is_down_for_as_long_as_the_settings_say(database_url: str) -> None:
    given = {"jwt_refresh_seconds": 60, "jwt_stale_seconds": 600}
    async with issuing() as issuer, running(database_url, **given, **issuer.settings) as (_, client):
        assert await status(client, issuer.token("read")) == 200
        issuer.down = True
        await later(client, 100)
        assert await status(client, issuer.token("read", jti="2")) == 200
        await until(lambda: len(issuer.asked) == 2)
        await later(client, 1000)
        answer = await client.get(SEGMENTS, headers=bearer(issuer.token("read", jti="3")))
        check_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"]
        issuer.down = False
        await later(client, 100)
        assert await status(client, issuer.token("read", jti="4")) == 200


async def test_an_issuer_that_is_down_at_first_or_answers_nonsense_is_asked_again_and_keys_work_meanwhile(
    database_url: str,
) -> None:
    async with issuing() as issuer, running(database_url, **issuer.settings) as (_, client):
        good = issuer.answers
        for answer in (
            (500, b""),
            (302, b""),
            (200, b"<html>"),
            (200, b"[]"),
            (200, b'{"keys": 5}'),
            (200, b'{"keys": [5, null, {"kty": "oct", "k": "c2VjcmV0", "kid": "one"}]}'),
            (200, b"[" * 100_000),
            (200, b" " * 300_000 + json.dumps({"keys": issuer.keys}).encode()),
        ):
            issuer.answers[JWKS] = answer
            assert await status(client, issuer.token("read")) == 503, answer[1][:40]
            assert (await client.get(SEGMENTS)).status_code == 200
            await later(client, 100)
        good.clear()
        assert await status(client, issuer.token("read")) == 200
        assert set(issuer.asked) == {JWKS}


async def test_an_issuer_that_is_slow_is_waited_for_once_by_all(database_url: str) -> None:
    async with issuing() as issuer, running(database_url, **issuer.settings) as (_, client):
        issuer.slow = 0.2
        found = await asyncio.gather(*(status(client, issuer.token("read", jti=str(each))) for each in range(50)))
        assert found == [200] * 50
        assert issuer.asked == [JWKS]


async def test_keys_that_are_not_for_signatures_or_too_weak_are_not_taken(database_url: str) -> None:
    key = private("ES256")
    for members in ({"use": "enc"}, {"key_ops": ["sign"]}, {"d": "AA"}, {"alg": "ES384"}, {"kid": 5}, {"crv": "P-521"}):
        async with AsyncExitStack() as stack:
            issuer = await stack.enter_async_context(issuing())
            issuer.signing["two"] = "ES256", key
            issuer.keys.append(public(key, "two", **members))
            _, client = await stack.enter_async_context(running(database_url, **issuer.settings))
            assert await status(client, issuer.token("read", kid="two")) == 401, members
            assert await status(client, issuer.token("read")) == 200


async def test_a_token_without_an_id_of_a_key_is_taken_where_only_one_key_fits(database_url: str) -> None:
    async with issuing(one="ES256", two="EdDSA") as issuer, running(database_url, **issuer.settings) as (_, client):
        assert await status(client, issuer.token("read", headers={"kid": None})) == 200
    async with issuing(one="ES256", two="ES256") as issuer, running(database_url, **issuer.settings) as (_, client):
        assert await status(client, issuer.token("read", headers={"kid": None})) == 401


async def test_what_was_found_of_a_token_is_remembered(service: Service) -> None:
    issuer, client = service
    token = issuer.token("read")
    assert await status(client, token) == 200
    issuer.down = True
    client._transport.app.state.services.tokens._keys._keys = {}  # type: ignore[attr-defined] # noqa: SLF001 - to see that it is not asked
    assert [await status(client, token) for _ in range(3)] == [200] * 3
