"""oauth2: users are led to an authorization server and come back with tokens."""
import base64
import hashlib
import hmac
import json

from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from client import Request, get, post
from config import cluster, http, http_filter, match, route, typed
from model import Group, answer

GROUP = Group("oauth2")
X = "envoy.extensions.filters.http.oauth2.v3."
NAME = "envoy.filters.http.oauth2"
SECRET = b"hmac secret"
SECRETS = [{"name": name, "generic_secret": {"secret": {"inline_string": value}}} for name, value in (("token", "client/secret="), ("hmac", SECRET.decode()))]
# What is random or a moment; that it is used rightly is seen by what follows.
RANDOM = ["client.*.headers.location", "client.*.headers.set-cookie*", "client.*.body"]


def config(**fields):
    credentials = {"client_id": "me", "token_secret": {"name": "token"}, "hmac_secret": {"name": "hmac"}, **fields.pop("credentials", {})}
    return {"token_endpoint": {"cluster": "auth", "uri": "http://auth.example/token", "timeout": "2s"}, "authorization_endpoint": "https://auth.example/authorize?tenant=a", "redirect_uri": "http://%REQ(:authority)%/callback",
            "redirect_path_matcher": {"path": {"exact": "/callback"}}, "signout_path": {"path": {"exact": "/signout"}}, "credentials": credentials, **fields}


def setup(name, routes=None, **fields):
    made = http(routes or [route("/", "a")], [cluster("a"), cluster("auth")], filters=[http_filter(NAME, X + "OAuth2", config=config(**fields))])
    made["static_resources"]["secrets"] = SECRETS
    return GROUP.setup(name, made, stats=["http.ingress.oauth_*"])


def code(*parts):
    return base64.b64encode(hmac.new(SECRET, "\n".join(parts).encode(), hashlib.sha256).digest()).decode()


def session(host="a.example", expires="99999999999", access="token", id="", refresh="", names=("OauthHMAC", "OauthExpires", "BearerToken", "IdToken", "RefreshToken"), spoiled=""):
    pairs = [(names[0], code(host, expires, access, id, refresh) + spoiled), (names[1], expires), (names[2], access), (names[3], id), (names[4], refresh)]
    return "; ".join(f"{name}={value}" for name, value in pairs if value)


def state(nonce="0123456789abcdef", url="http://a.example/wanted?x=1", spoiled="", **fields):
    token = nonce + "." + base64.b64encode(hmac.new(SECRET, nonce.encode(), hashlib.sha256).digest()).decode() + spoiled
    made = {"url": url, "csrf_token": token, "flow_id": nonce, **fields}
    text = json.dumps({key: value for key, value in made.items() if value is not None}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("="), f"OauthNonce.{nonce}={token}"


def there(path, cookie=None, headers=()):
    return get(path, [*([("cookie", cookie)] if cookie else []), *headers])


HOST = {"host": "a.example"}
s = setup("usual", disable_token_encryption=True, pass_through_matcher=[{"name": "x-pass", "string_match": {"exact": "1"}}], deny_redirect_matcher=[{"name": "x-ajax", "present_match": True}], allow_failed_matcher=[{"name": "x-anonymous", "present_match": True}], forward_bearer_token=True)
s.case("no session", there("/wanted?x=1"), ignore=RANDOM)
s.case("no session: denied", there("/wanted", headers=[("x-ajax", "1")]))
s.case("no session: anonymous", there("/wanted", headers=[("x-anonymous", "1"), ("authorization", "Bearer stolen"), ("x-envoy-oauth-status", "ok")]))
s.case("no session: passes through", there("/wanted", headers=[("x-pass", "1"), ("authorization", "Bearer own")]))
s.case("session", there("/wanted", session()))
s.case("session: with an authorization of its own", there("/wanted", session(), [("authorization", "Bearer stolen")]))
s.case("session: for another host", there("/wanted", session(host="b.example"), [("x-ajax", "1")]))
s.case("session: over", there("/wanted", session(expires="1000"), [("x-ajax", "1")]))
s.case("session: spoiled", there("/wanted", session(spoiled="x"), [("x-ajax", "1")]))
s.case("session: no number", there("/wanted", session(expires="soon"), [("x-ajax", "1")]))
s.case("session at the callback", there("/callback?code=1&state=" + state()[0], session() + "; " + state()[1]))
s.case("session at the callback: forged", there("/callback?code=1&state=" + state()[0], session()))
s.case("session at the callback: in a circle", there("/callback?code=1&state=" + state(url="http://a.example/callback?x")[0], session() + "; " + state(url="http://a.example/callback?x")[1]))
s.case("sign out", there("/signout", session(id="identity")))
s.case("sign out: nobody", there("/signout?x"))
for name, path, cookie in (
    ("an error", "/callback?error=access_denied&error_description=no", None), ("an error with a state", "/callback?error=access_denied&state=" + state()[0], state()[1]), ("no code", "/callback?state=" + state()[0], state()[1]), ("no state", "/callback?code=1", None), ("an odd state", "/callback?code=1&state=e30", None),
    ("a state that is none", "/callback?code=1&state=%%%", None), ("no cookie", "/callback?code=1&state=" + state()[0], None), ("a forged token", "/callback?code=1&state=" + state(spoiled="x")[0], state(spoiled="x")[1]), ("another token", "/callback?code=1&state=" + state()[0], state(nonce="ffff")[1].replace("ffff=", "0123456789abcdef=")),
    ("no URL", "/callback?code=1&state=" + state(url="nowhere")[0], state(url="nowhere")[1]), ("no verifier", "/callback?code=1&state=" + state()[0], state()[1]), ("a spoiled verifier", "/callback?code=1&state=" + state()[0], state()[1] + "; CodeVerifier.0123456789abcdef=gcm.AAAA"),
):
    s.case(f"callback: {name}", there(path, cookie), ignore=["log.*.details"] if name in ("a spoiled verifier",) else [])
s = setup("refreshed", disable_token_encryption=True, forward_bearer_token=True, default_expires_in="60s", deny_redirect_matcher=[{"name": "x-ajax", "present_match": True}])
FRESH = {"access_token": "new", "expires_in": 100, "refresh_token": "next"}


def said(value, status=200):
    return {"auth": [answer(status, ("content-type", "application/json"), body=json.dumps(value).encode() if not isinstance(value, bytes) else value)]}


OVER = session(expires="1000", refresh="again")
for name, upstream in (("refreshed", said(FRESH)), ("refreshed: no number", said({"access_token": "new"})), ("refreshed: with an id token", said({**FRESH, "id_token": "who"})), ("refreshed: refused", said({"error": "x"}, 400)), ("refreshed: no token", said({"expires_in": 1})), ("refreshed: no JSON", said(b"<html>")), ("refreshed: server gone", {"auth": [answer(reset="before")]})):
    s.case(name, there("/wanted", OVER, [("x-ajax", "1")]), upstream=upstream, fresh=name.endswith("gone"), ignore=["client.*.headers.set-cookie*", "upstream.*.headers.x-forwarded-for", "upstream.*.headers.cookie", "log.*.details"])
s = setup("refreshed by basic", disable_token_encryption=True, auth_type="BASIC_AUTH", deny_redirect_matcher=[{"name": "x-ajax", "present_match": True}])
s.case("refreshed by basic", there("/wanted", OVER, [("x-ajax", "1")]), upstream=said(FRESH), ignore=["client.*.headers.set-cookie*", "upstream.*.headers.x-forwarded-for", "upstream.*.headers.cookie"])
s = setup("never refreshed", disable_token_encryption=True, use_refresh_token=False, deny_redirect_matcher=[{"name": "x-ajax", "present_match": True}])
s.case("never refreshed", there("/wanted", OVER, [("x-ajax", "1")]))


def sealed(text, vector=bytes(range(16))):
    """A cookie's value as Envoy encrypts it by default: AES-256-CBC, and the vector in front."""
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(hashlib.sha256(SECRET).digest()), modes.CBC(vector)).encryptor()
    made = vector + encryptor.update(padder.update(text.encode()) + padder.finalize()) + encryptor.finalize()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


# With the hardened defaults such cookies are nobody's, unless the file says so.
BOTH = {"layered_runtime": {"layers": [{"name": "s", "static_layer": {"envoy.reloadable_features.oauth2_legacy_cbc_decrypt_compat": True, "envoy.reloadable_features.oauth2_use_gcm_encryption": False}}]}}
made = http([route("/", "a")], [cluster("a"), cluster("auth")], filters=[http_filter(NAME, X + "OAuth2", config=config(forward_bearer_token=True, deny_redirect_matcher=[{"name": "x-ajax", "present_match": True}]))])
made["static_resources"]["secrets"] = SECRETS
s = GROUP.setup("sealed", {**made, **BOTH}, stats=["http.ingress.oauth_*"])
SEALED = session().replace("BearerToken=token", "BearerToken=" + sealed("token"))
s.case("sealed: a session", there("/wanted", SEALED, [("x-ajax", "1")]))
s.case("sealed: spoiled", there("/wanted", SEALED.replace("BearerToken=AA", "BearerToken=BA"), [("x-ajax", "1")]))
s.case("sealed: no token", there("/wanted", session(), [("x-ajax", "1")]))
s.case("sealed: the verifier", there("/callback?code=1&state=" + state()[0], state()[1] + "; CodeVerifier.0123456789abcdef=" + sealed("verifier")), upstream=said(FRESH), ignore=["client.*.headers.set-cookie*", "upstream.*.headers.x-forwarded-for"])
KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
for name, algorithm in (("assertion", "ES256"), ("assertion: another kind of key", "RS256")):
    made = http([route("/", "a")], [cluster("a"), cluster("auth")], filters=[http_filter(NAME, X + "OAuth2", config=config(disable_token_encryption=True, auth_type="PRIVATE_KEY_JWT", private_key_jwt_config={"signing_algorithm": algorithm}, deny_redirect_matcher=[{"name": "x-ajax", "present_match": True}]))])
    made["static_resources"]["secrets"] = [{"name": "token", "generic_secret": {"secret": {"inline_string": KEY}}}, SECRETS[1]]
    s = GROUP.setup(name, made, stats=["http.ingress.oauth_*"])
    s.case(name, there("/wanted", OVER, [("x-ajax", "1")]), upstream=said(FRESH), ignore=["client.*.headers.set-cookie*", "upstream.*.headers.x-forwarded-for", "upstream.*.headers.cookie", "upstream.*.body", "upstream.*.headers.content-length", "log.*.details"])
NAMES = ("H", "E", "B", "I", "R")
s = setup("named", disable_token_encryption=True, forward_id_token={"header": "X-Identity"}, preserve_authorization_header=True, end_session_endpoint="https://auth.example/end", auth_scopes=["openid", "email"], cookie_configs={"bearer_token_cookie_config": {"path": "/app"}},
    credentials={"cookie_names": dict(zip(("oauth_hmac", "oauth_expires", "bearer_token", "id_token", "refresh_token"), NAMES)), "cookie_domain": "example"})
s.case("named: session", there("/wanted", session(host="example", id="identity", names=NAMES), [("authorization", "Basic own"), ("x-identity", "root")]))
s.case("named: sign out", there("/signout", session(host="example", id="identity", names=NAMES)))
s = setup("allowed domains", disable_token_encryption=True, allowed_redirect_domains=["*.example"])
s.case("allowed domains: another", get("/wanted", host="evil.test"))
s.case("allowed domains: one of them", there("/wanted"), ignore=RANDOM)
s.case("allowed domains: led elsewhere", there("/callback?code=1&state=" + state(url="http://evil.test/")[0], state(url="http://evil.test/")[1]))
for name, fields in (("no URL", {"authorization_endpoint": "nowhere"}), ("end of a session without openid", {"end_session_endpoint": "https://x/"}), ("two owners", {"forward_bearer_token": True, "preserve_authorization_header": True})):
    made = http([route("/", "a")], [cluster("a"), cluster("auth")], filters=[http_filter(NAME, X + "OAuth2", config=config(**fields))])
    made["static_resources"]["secrets"] = SECRETS
    GROUP.setup(f"refused: {name}", made, refused=True).case(f"refused: {name}")
