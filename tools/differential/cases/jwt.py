"""jwt_authn. Keys and tokens are made once a run."""
import json
import time

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from client import Request, get
from config import cluster, http, http_filter, route, typed
from model import Group, Upstream, answer

GROUP = Group("jwt")
NAME, AUTHN = "envoy.filters.http.jwt_authn", "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
RSA, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()


def jwk(key, algorithm, kid):
    out = json.loads(pyjwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    return {**out, "kid": kid, "alg": algorithm, "use": "sig"}


JWKS = json.dumps({"keys": [jwk(RSA, "RS256", "r"), jwk(EC, "ES256", "e"), jwk(ED, "EdDSA", "d")]})
NOW = int(time.time())


def token(key=RSA, algorithm="RS256", kid="r", **claims):
    payload = {"iss": "https://issuer.test", "aud": "books", "sub": "jason", "exp": NOW + 86_400, "groups": ["a", "b"], "nested": {"deep": "yes"}, "n": 7, "flag": True, **claims}
    return pyjwt.encode({k: v for k, v in payload.items() if v is not None}, key, algorithm, headers={"kid": kid} if kid else None)


def bearer(value):
    return [("authorization", f"Bearer {value}")]


def provider(**fields):
    return {"issuer": "https://issuer.test", "local_jwks": {"inline_string": JWKS}, **fields}


def setup(name, providers, rules, *, clusters=None, upstreams=None, routes=None, **fields):
    return GROUP.setup(name, http(routes or [route("/", "a")], clusters or [cluster("a")], filters=[http_filter(NAME, AUTHN, providers=providers, rules=rules, **fields)]),
                       stats=["http.ingress.jwt_authn.*"], upstreams=upstreams or {})


GOOD = token()
s = setup("basic", {"p": provider(audiences=["books", "films"])}, [{"match": {"prefix": "/open"}}, {"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}])
for name, headers in [
    ("good", bearer(GOOD)), ("missing", []), ("expired", bearer(token(exp=NOW - 3600))), ("expired within the skew", bearer(token(exp=NOW - 20))), ("not yet valid", bearer(token(nbf=NOW + 3600))), ("without exp", bearer(token(exp=None))),
    ("wrong issuer", bearer(token(iss="https://other.test"))), ("wrong audience", bearer(token(aud="games"))), ("list of audiences", bearer(token(aud=["games", "films"]))), ("no audience", bearer(token(aud=None))),
    ("audience with a slash", bearer(token(aud="https://books/"))), ("wrong signature", bearer(token(OTHER))), ("unknown kid", bearer(token(kid="zzz"))), ("no kid", bearer(token(kid=None))), ("ES256", bearer(token(EC, "ES256", "e"))), ("EdDSA", bearer(token(ED, "EdDSA", "d"))),
    ("RS512 with an RS256 key", bearer(token(algorithm="RS512"))), ("HS256 with the public key", bearer(token("x" * 40, "HS256"))), ("alg none", bearer(pyjwt.encode({"iss": "https://issuer.test", "aud": "books"}, None, "none"))),
    ("garbage", bearer("garbage")), ("two dots of garbage", bearer("a.b.c")), ("empty bearer", bearer("")), ("basic authorization", [("authorization", "Basic abc")]), ("bearer in small letters", [("authorization", f"bearer {GOOD}")]), ("signature cut", bearer(GOOD[:-10])),
    ("two authorization headers", bearer(GOOD) + bearer("x")),
]:
    s.case(name, get("/p", headers))
s.case("open path", get("/open"))
s.case("open path with a bad token", get("/open", bearer("x")))
s.case("token in the query", get(f"/p?access_token={GOOD}"))
s.case("HEAD without token", Request("HEAD", "/p"))
s.case("CORS preflight without token", Request("OPTIONS", "/p", [("origin", "http://o.test"), ("access-control-request-method", "GET")]))

s = setup("options", {"p": provider(forward=True, forward_payload_header="x-payload", claim_to_headers=[{"header_name": "x-sub", "claim_name": "sub"}, {"header_name": "x-deep", "claim_name": "nested.deep"}, {"header_name": "x-groups", "claim_name": "groups"},
    {"header_name": "x-n", "claim_name": "n"}, {"header_name": "x-flag", "claim_name": "flag"}], from_headers=[{"name": "x-token", "value_prefix": "Token "}, {"name": "authorization", "value_prefix": "Bearer "}], from_params=["token"], from_cookies=["session"])},
    [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}])
for name, path, headers in [("from another header", "/", [("x-token", f"Token {GOOD}")]), ("from a parameter", f"/?a=1&token={GOOD}&b=2", []), ("from a cookie", "/", [("cookie", f"x=1; session={GOOD}")]), ("forwarded, with claims as headers", "/", bearer(GOOD)),
                            ("spoofed claim headers", "/", bearer(GOOD) + [("x-sub", "spoof"), ("x-payload", "spoof")]), ("two tokens, one bad", "/", [("x-token", f"Token {GOOD}")] + bearer("bad"))]:
    s.case(name, get(path, headers))
s = setup("no forward", {"p": provider(forward_payload_header="x-payload", pad_forward_payload_header=True)}, [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}])
s.case("token is removed, payload is padded", get("/", bearer(GOOD)))
s = setup("combinations", {"p": provider(), "q": provider(issuer="https://second.test", from_headers=[{"name": "x-second"}])}, [
    {"match": {"prefix": "/any"}, "requires": {"requires_any": {"requirements": [{"provider_name": "p"}, {"provider_name": "q"}]}}},
    {"match": {"prefix": "/all"}, "requires": {"requires_all": {"requirements": [{"provider_name": "p"}, {"provider_name": "q"}]}}},
    {"match": {"prefix": "/missing"}, "requires": {"requires_any": {"requirements": [{"provider_name": "p"}, {"allow_missing": {}}]}}},
    {"match": {"prefix": "/whatever"}, "requires": {"requires_any": {"requirements": [{"provider_name": "p"}, {"allow_missing_or_failed": {}}]}}},
    {"match": {"prefix": "/audience"}, "requires": {"provider_and_audiences": {"provider_name": "p", "audiences": ["films"]}}},
    {"match": {"path": "/header", "headers": [{"name": "x-need", "present_match": True}]}, "requires": {"provider_name": "p"}}])
SECOND = [("x-second", token(iss="https://second.test"))]
for name, path, headers in [("any: first", "/any", bearer(GOOD)), ("any: second", "/any", SECOND), ("any: none", "/any", []), ("any: bad", "/any", bearer("bad")), ("all: both", "/all", bearer(GOOD) + SECOND), ("all: one", "/all", bearer(GOOD)),
                            ("allow missing: missing", "/missing", []), ("allow missing: bad", "/missing", bearer(token(OTHER))), ("allow failed: bad", "/whatever", bearer(token(OTHER))), ("allow failed: good", "/whatever", bearer(GOOD)),
                            ("other audiences", "/audience", bearer(GOOD)), ("other audiences met", "/audience", bearer(token(aud="films"))), ("rule by header: not asked", "/header", []), ("rule by header: asked", "/header", [("x-need", "1")]), ("no rule", "/none", [])]:
    s.case(name, get(path, headers))

REMOTE = {"issuer": "https://issuer.test", "remote_jwks": {"http_uri": {"uri": "http://keys.test/jwks", "cluster": "keys", "timeout": "1s"}, "cache_duration": "300s"}}
ALL = [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}]
s = setup("remote", {"p": REMOTE}, ALL, clusters=[cluster("a"), cluster("keys")], upstreams={"keys": Upstream(default=answer(200, ("content-type", "application/json"), body=JWKS.encode()))})
s.case("remote keys, fetched once", get("/", bearer(GOOD)), get("/", bearer(GOOD)), ignore=["upstream.*.headers.x-envoy-expected-rq-timeout-ms"])
s = setup("remote down", {"p": REMOTE}, ALL, clusters=[cluster("a"), cluster("keys", ["dead"])])
s.case("remote keys are not there", get("/", bearer(GOOD)), ignore=["stats.cluster.keys*"])
s = setup("remote garbage", {"p": REMOTE}, ALL, clusters=[cluster("a"), cluster("keys")], upstreams={"keys": Upstream(default=answer(200, body=b"<html>"))})
s.case("remote keys are garbage", get("/", bearer(GOOD)))
s = setup("remote 503", {"p": REMOTE}, ALL, clusters=[cluster("a"), cluster("keys")], upstreams={"keys": Upstream(default=answer(503))})
s.case("remote keys answer 503", get("/", bearer(GOOD)))

PER_ROUTE = "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig"
s = setup("per route", {"p": provider()}, [], requirement_map={"need": {"provider_name": "p"}}, routes=[
    route("/named", "a", typed_per_filter_config={NAME: typed(PER_ROUTE, requirement_name="need")}), route("/off", "a", typed_per_filter_config={NAME: typed(PER_ROUTE, disabled=True)}),
    route("/wrong", "a", typed_per_filter_config={NAME: typed(PER_ROUTE, requirement_name="unknown")}), route("/", "a")])
for path in ("/named", "/off", "/wrong", "/"):
    s.case(f"per route {path}", get(path))
s.case("per route /named with a token", get("/named", bearer(GOOD)))

RBAC = http_filter("envoy.filters.http.rbac", "envoy.extensions.filters.http.rbac.v3.RBAC", rules={"action": "ALLOW", "policies": {"p": {"permissions": [{"any": True}], "principals": [
    {"metadata": {"filter": NAME, "path": [{"key": "payload"}, {"key": "sub"}], "value": {"string_match": {"exact": "jason"}}}}]}}})
s = GROUP.setup("rbac on claims", http(filters=[http_filter(NAME, AUTHN, providers={"p": provider(payload_in_metadata="payload")}, rules=ALL), RBAC]))
s.case("rbac on a claim: the one", get("/", bearer(GOOD)))
s.case("rbac on a claim: another", get("/", bearer(token(sub="other"))))
s = setup("lifetime", {"p": provider(require_expiration=True, max_lifetime="3600s", clock_skew_seconds=5)}, ALL)
s.case("expiration required", get("/", bearer(token(exp=None))))
s.case("lifetime too long", get("/", bearer(token())))
s.case("lifetime short enough", get("/", bearer(token(exp=NOW + 1800))))
s.case("clock skew of five seconds", get("/", bearer(token(exp=NOW - 30))))
s = setup("subjects", {"p": provider(subjects={"prefix": "ja"})}, ALL)
s.case("subject matches", get("/", bearer(GOOD)))
s.case("subject does not", get("/", bearer(token(sub="mary"))))
s = setup("failure detail", {"p": provider(failed_status_in_metadata="why")}, [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}], bypass_cors_preflight=True, strip_failure_response=True)
s.case("bypassed CORS preflight", Request("OPTIONS", "/p", [("origin", "http://o.test"), ("access-control-request-method", "GET")]))
s.case("failure without words", get("/", bearer("bad")))
