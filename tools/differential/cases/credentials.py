"""api_key_auth and credential_injector."""
from client import Request, get
from config import http, http_filter, route, typed
from model import Group

GROUP = Group("credentials")
X = "envoy.extensions.filters.http."
KEYS, API = "envoy.filters.http.api_key_auth", X + "api_key_auth.v3.ApiKeyAuth"
CLIENTS = [{"key": "k1", "client": "one"}, {"key": "k 2", "client": "two"}, {"key": "a=b", "client": "three"}]
PLACES = [{"header": "X-API-Key"}, {"query": "key"}, {"cookie": "key"}]


def keys(name, routes=None, **fields):
    return GROUP.setup(name, http(routes or [route("/", "a")], filters=[http_filter(KEYS, API, **fields)]), stats=["http.ingress.api_key_auth.*"])


REQUESTS = [
    ("header", get("/p", [("x-api-key", "k1")])), ("header with a scheme", get("/p", [("x-api-key", "Bearer k1")])), ("header with a scheme in small letters", get("/p", [("x-api-key", "bearer k1")])),
    ("two headers", get("/p", [("x-api-key", "k1"), ("x-api-key", "zzz")])), ("two headers, the first is nobody's", get("/p", [("x-api-key", "zzz"), ("x-api-key", "k1")])),
    ("an empty header, then the query", get("/p?key=k1", [("x-api-key", "")])), ("a wrong header, a good query", get("/p?key=k1", [("x-api-key", "zzz")])),
    ("query", get("/p?key=k1")), ("query between others", get("/p?a=1&key=k1&z=2")), ("query, escaped", get("/p?key=k%202")), ("query, plus", get("/p?key=k+2")), ("query, escaped name", get("/p?k%65y=k1")), ("query, twice", get("/p?key=k1&key=zzz")),
    ("query, an equals sign", get("/p?key=a=b")), ("query, no value", get("/p?key")), ("query of another name", get("/p?Key=k1")), ("query, alone", get("/p?key=k1")),
    ("cookie", get("/p", [("cookie", "key=k1")])), ("cookie between others", get("/p", [("cookie", "a=1; key=k1; z=2")])), ("cookie in quotes", get("/p", [("cookie", 'key="k1"')])), ("cookie in a second line", get("/p", [("cookie", "a=1"), ("cookie", "key=k1")])),
    ("nothing", get("/p")), ("nobody's", get("/p", [("x-api-key", "zzz")])), ("HEAD without", Request("HEAD", "/p")), ("all three", get("/p?key=k1", [("x-api-key", "k1"), ("cookie", "key=k1")])),
]
s = keys("keys", credentials=CLIENTS, key_sources=PLACES)
for name, request in REQUESTS:
    s.case(f"api key: {name}", request)
s = keys("hidden", credentials=CLIENTS, key_sources=PLACES, forwarding={"header": "X-Client", "hide_credentials": True})
for name, request in REQUESTS:
    s.case(f"api key, hidden: {name}", request)
s.case("api key: a client's name in the request", get("/p", [("x-api-key", "k1"), ("x-client", "root")]))
s = keys("named", credentials=CLIENTS, key_sources=PLACES, forwarding={"header": "x-client"})
s.case("api key, named", get("/p?key=k1"))
for name, fields in (("no places", {"credentials": CLIENTS}), ("no keys", {"key_sources": PLACES}), ("nothing at all", {})):
    keys(name, **fields).case(f"api key: {name}", get("/p", [("x-api-key", "k1")]))


def on(path, **fields):
    return route(path, "a", typed_per_filter_config={KEYS: typed(API + "PerRoute", **fields)})


s = keys("per route", [on("/own", credentials=[{"key": "r", "client": "route"}]), on("/places", key_sources=[{"header": "x-other"}]), on("/forward", forwarding={"header": "x-who"}), on("/some", allowed_clients=["two", "ghost"]),
    route("/off", "a", typed_per_filter_config={KEYS: typed("envoy.config.route.v3.FilterConfig", disabled=True)}), route("/", "a")], credentials=CLIENTS, key_sources=PLACES, forwarding={"header": "x-client", "hide_credentials": True})
for path, values in (("/own", ("r", "k1")), ("/places", ("k1",)), ("/forward", ("k1",)), ("/some", ("k1", "k 2", "zzz")), ("/off", ("zzz",)), ("/", ("k1",))):
    for value in values:
        s.case(f"api key on {path}: {value}", get(path, [("x-api-key", value), ("x-other", "k1")]))

INJECTOR, GENERIC = "envoy.filters.http.credential_injector", "envoy.extensions.http.injected_credentials.generic.v3.Generic"
SECRETS = [{"name": name, "generic_secret": {"secret": {"inline_string": value}}} for name, value in (("plain", "hush"), ("line", "hush\r\n"), ("empty", ""), ("blank", " hush "))]


def inject(name, secret="plain", generic=None, routes=None, **fields):
    made = http(routes or [route("/", "a")], filters=[http_filter(INJECTOR, X + "credential_injector.v3.CredentialInjector", credential={"name": "c", "typed_config": typed(GENERIC, credential={"name": secret}, **(generic or {}))}, **fields)])
    made["static_resources"]["secrets"] = SECRETS
    return GROUP.setup(name, made, stats=["http.ingress.credential_injector.*"])


OWN = get("/", [("authorization", "mine")])
for secret in ("plain", "line", "empty", "blank"):
    s = inject(f"secret {secret}", secret)
    s.case(f"injected: {secret}", get("/"))
    s.case(f"injected: {secret}, the request has its own", OWN)
s = inject("overwrite", overwrite=True)
s.case("injected: overwritten", OWN)
s.case("injected: two are overwritten", get("/", [("authorization", "mine"), ("authorization", "too")]))
s = inject("header and prefix", generic={"header": "X-Secret", "header_value_prefix": "Token "})
s.case("injected: header and prefix", get("/"))
s = inject("pass without", "empty", allow_request_without_credential=True)
s.case("injected: passes without", get("/"))
s = inject("off", routes=[route("/off", "a", typed_per_filter_config={INJECTOR: typed("envoy.config.route.v3.FilterConfig", disabled=True)}), route("/", "a")])
s.case("injected: off on a route", get("/off"))
