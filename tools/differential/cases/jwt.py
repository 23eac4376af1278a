"""jwt_authn. Keys and tokens are made once a run."""
import base64
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

SHOWN = [{"header": {"key": f"x-{name}", "value": f"%DYNAMIC_METADATA({NAME}:{name})%"}} for name in ("payload", "head", "why", "hence")]
SHOWING = [route("/", "a", request_headers_to_add=SHOWN)]
s = setup("metadata", {"p": provider(payload_in_metadata="payload", header_in_metadata="head", failed_status_in_metadata="why", normalize_payload_in_metadata={"space_delimited_claims": ["scope", "permission"]})},
          [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}], routes=SHOWING)
s.case("payload and header as metadata", get("/", bearer(token(scope="read  write", permission=["a b"], f=1.5, none="x", exp=4102444800))))
for words, requirement in [("allow failed", {"allow_missing_or_failed": {}}), ("any", {"requires_any": {"requirements": [{"provider_name": "p"}, {"allow_missing_or_failed": {}}]}}),
                           ("either", {"requires_any": {"requirements": [{"provider_name": "p"}, {"provider_name": "q"}]}})]:
    s = setup(f"metadata, {words}", {"p": provider(failed_status_in_metadata="why"), "q": provider(issuer="https://second.test", failed_status_in_metadata="hence", payload_in_metadata="payload")},
              [{"match": {"prefix": "/"}, "requires": requirement}], routes=SHOWING)
    for name, headers in [("bad", bearer(token(OTHER, exp=4102444800))), ("missing", []), ("garbage", bearer("garbage")), ("stranger", bearer(token(iss="https://other.test", exp=4102444800))), ("good of the other", bearer(token(iss="https://second.test", exp=4102444800)))]:
        s.case(f"failure as metadata, {words}: {name}", get("/", headers))

CLAIMS = [{"header_name": f"x-{name}", "claim_name": name} for name in ("list", "object", "half", "minus", "big", "none", "off", "odd", "empty")] + [{"header_name": "x-inner", "claim_name": "object.a.b"}, {"header_name": "x-gone", "claim_name": "object.a.c"}, {"header_name": "x-sub", "claim_name": "sub"}, {"header_name": "x-sub", "claim_name": "aud"}]
s = setup("claims", {"p": provider(claim_to_headers=CLAIMS, from_cookies=["session"], from_params=["token"])}, [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}])
RICH = token(list=["a", 1, True], object={"a": {"b": "deep"}}, half=0.5, minus=-3, big=12345678901234567, off=False, odd={}, empty="", exp=4102444800)
s.case("claims of all kinds as headers", get("/", [("cookie", f"session={RICH}; other=1")]))
s.case("claims, client's own headers", get("/", [("cookie", f"session={RICH}"), ("x-gone", "spoof"), ("x-inner", "spoof")]))
for query in (f"token={RICH}", f"b=2&token={RICH}&a=1", f"a=%41%20b&token={RICH}&c", f"token={RICH}&token=x&a=b"):
    s.case(f"token leaves the query {query.replace(RICH, 'T')}", get(f"/p?{query}"))
s.case("token in the query, escaped", get(f"/p?token={RICH.replace('.', '%2E')}"))
s.case("token in the query, with a plus", get(f"/p?token={RICH}+"))

s = setup("stat prefix", {"p": provider()}, ALL, stat_prefix="inner")
s.case("counters with a prefix of their own", get("/", bearer(GOOD)), get("/"), stats=["http.ingress.jwt_authn*"])
s = setup("cache", {"p": provider(jwt_cache_config={"jwt_cache_size": 2})}, ALL)
s.case("cached tokens", get("/", bearer(GOOD)), get("/", bearer(GOOD)), get("/", bearer(GOOD)))
s = setup("header values", {"p": provider(from_headers=[{"name": "x-token"}, {"name": "x-other", "value_prefix": "jwt="}])}, ALL)
for name, headers in [("plain", [("x-token", GOOD)]), ("two of one name", [("x-token", GOOD), ("x-token", GOOD)]), ("prefix inside", [("x-other", f"a=b; jwt={GOOD}")]), ("prefix, then blanks", [("x-other", f"jwt=  {GOOD}")]), ("something behind", [("x-other", f"jwt={GOOD} x")]), ("prefix only", [("x-other", "jwt=")])]:
    s.case(f"header value: {name}", get("/", headers))
EC5 = ec.generate_private_key(ec.SECP521R1())
EC3 = ec.generate_private_key(ec.SECP384R1())
SECRET = b"secret" * 12
MANY = json.dumps({"keys": [jwk(RSA, "RS256", "r") | {"alg": "PS256"}, {k: v for k, v in jwk(RSA, "RS256", "any").items() if k != "alg"}, jwk(EC3, "ES384", "3"), jwk(EC5, "ES512", "5"), {"kty": "oct", "kid": "o", "k": base64.urlsafe_b64encode(SECRET).decode().rstrip("=")}]})
s = setup("algorithms", {"p": {"issuer": "https://issuer.test", "local_jwks": {"inline_string": MANY}}}, ALL)
for algorithm, key, kid in [("PS256", RSA, "r"), ("RS256", RSA, "r"), ("RS384", RSA, "any"), ("RS512", RSA, "any"), ("PS384", RSA, "any"), ("PS512", RSA, "any"), ("ES384", EC3, "3"), ("ES512", EC5, "5"), ("HS256", SECRET, "o"), ("HS384", SECRET, "o"), ("HS512", SECRET, "o"), ("HS256", b"wrong" * 10, "o"), ("HS256", SECRET, None)]:
    s.case(f"algorithm {algorithm} with key {kid}{'' if key != b'wrong' * 10 else ', wrong'}", get("/", bearer(token(key, algorithm, kid))))
raw = lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
s = setup("malformed", {"p": provider()}, ALL)
for name, text in [("header no JSON", f"{raw('x')}.{raw('{}')}.AA"), ("alg a number", raw('{"alg":1}') + ".e30.AA"), ("kid a number", raw('{"alg":"RS256","kid":1}') + ".e30.AA"), ("payload no JSON", raw('{"alg":"RS256"}') + ".eA.AA"), ("payload a list", raw('{"alg":"RS256"}') + ".W10.AA"),
                   ("iss a number", raw('{"alg":"RS256"}') + "." + raw('{"iss":1}') + ".AA"), ("exp a text", raw('{"alg":"RS256"}') + "." + raw('{"exp":"1"}') + ".AA"), ("exp negative", raw('{"alg":"RS256"}') + "." + raw('{"exp":-1}') + ".AA"), ("exp huge", raw('{"alg":"RS256"}') + "." + raw('{"exp":1e30}') + ".AA"),
                   ("aud numbers", raw('{"alg":"RS256"}') + "." + raw('{"aud":[1]}') + ".AA"), ("signature padded", GOOD + "=="), ("member twice", raw('{"alg":"RS256","alg":"RS256"}') + ".e30.AA"), ("iss null", raw('{"alg":"RS256"}') + "." + raw('{"iss":null}') + ".AA"), ("four parts", GOOD + ".x"), ("empty signature", GOOD.rsplit(".", 1)[0] + ".")]:
    s.case(f"malformed: {name}", get("/", bearer(text)))

# Ten letters are sixty bits: the last four are no part of a byte, and Envoy does not look at them.
s = setup("a secret with bits left over", {"p": provider(local_jwks={"inline_string": '{"keys":[{"kty":"oct","k":"1234567890"}]}'})}, [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}])
for name, secret in (("its secret", base64.urlsafe_b64decode("1234567890==")), ("another secret", b"another")):
    s.case(f"bits left over: {name}", get("/p", bearer(token(secret, "HS256", None))))
