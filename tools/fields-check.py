#!/usr/bin/env python3
"""No field of a configuration is passed over in silence, as far as names can tell.

A field that a compiler lists as read (`FieldCheck.check(… reads:/handles:)`) must be named in the code beside that list; one of a message that no
such list covers must be named somewhere, or stand in a table of ignored fields. `OUTGOING` are messages that are written and never read.
"""
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = ("Proxy", "Upstream", "TLS", "XDS", "skein-proxy")
# What is sent by us, or by a control plane for its own purposes: nothing of it configures anything.
OUTGOING = re.compile(
    r"opentelemetry\.|envoy\.(admin|data|service\.(accesslog|status|load_stats|ratelimit|metrics|trace))\.|istio\.v1|skein\.(?!load)|io\.prometheus|xds\.service\.orca")
# Fields that are not read, with the reason; those of the tables of ignored fields stand there.
UNREAD = {
    "envoy.config.bootstrap.v3.ClusterManager.OutlierDetection": "ignored as a whole",
    "envoy.config.common.matcher.v3.HttpGenericBodyMatch": "refused with the match that holds it",
    "envoy.config.common.matcher.v3.HttpGenericBodyMatch.GenericTextMatch": "refused with the match that holds it",
    "envoy.config.common.matcher.v3.MatchPredicate": "an enumeration: each kind that is not known is refused",
    "envoy.extensions.bootstrap.internal_listener.v3.InternalListener": "internal listeners are refused where they stand",
    "envoy.extensions.compression.zstd.decompressor.v3.Zstd dictionaries": "refused: its list of fields that are read is empty",
    "envoy.config.core.v3.Node": "sent to servers as it is",
    "envoy.service.discovery.v3.Resource": "resource_name is for xdstp:// names",
    "envoy.type.http.v3.PathTransformation.Operation": "path_normalization_options are refused",
    "io.istio.http.peer_metadata.Config.DiscoveryMethod": "the filter is refused",
    "envoy.config.core.v3.Extension": "describes the client; a server may look at it",
    "envoy.config.core.v3.Metadata typed_filter_metadata": "nothing of this proxy reads typed metadata; see envoy-differences",
    "envoy.service.discovery.v3.DeltaDiscoveryResponse": "read by the delta state machine, by number",
    "envoy.service.discovery.v3.DiscoveryResponse": "read by the state machine of the client; the rest is informational",
    "envoy.service.ext_proc.v3.HttpBody": "for GRPC bodies, which are refused",
    "envoy.service.ext_proc.v3.ProcessingResponse request_drain": "a hint for clients that buffer; this one does not",
    "envoy.service.ext_proc.v3.ProtocolConfiguration": "written by us: the field is false",
    "google.api.expr.v1alpha1.CheckedExpr": "types and positions: the evaluator finds types itself, and errors name the path",
    "google.api.expr.v1alpha1.ParsedExpr": "positions in a text that is not there",
    "google.api.expr.v1alpha1.SourceInfo.Extension": "positions in a text that is not there",
    "google.api.expr.v1alpha1.SourceInfo.Extension.Version": "positions in a text that is not there",
    "google.api.expr.v1alpha1.Expr.CreateStruct.Entry": "field_key belongs to messages, which are refused",
    "skein.load_balancing.v1.Nearest": "its only field is refused",
    "envoy.config.bootstrap.v3.ClusterManager": "checked in BootstrapConfig: one field is read",
    "xds.data.orca.v3.OrcaLoadReport": "weights come from utilization and rates",
}


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def messages():
    """Full name → Swift name and fields."""
    found = {}
    for path in (ROOT / "Sources/EnvoyAPI").rglob("*.swift"):
        stack = []
        for line in path.read_text().splitlines():
            opened = re.match(r"( *)public (?:indirect )?(?:struct|enum) (\w+)", line)
            if opened:
                while stack and stack[-1][0] >= len(opened[1]):
                    stack.pop()
                stack.append((len(opened[1]), opened[2]))
            schema = re.search(r'static let schema = MessageSchema\("([^"]+)", "([^"]*)"', line)
            if schema:
                indentation = len(line) - len(line.lstrip())
                while stack and stack[-1][0] >= indentation:
                    stack.pop()
                found[schema[1]] = (stack[-1][1] if stack else "", schema[2].split()[::2])
    return found


def main():
    texts = {path: path.read_text() for part in PARTS for path in (ROOT / "Sources" / part).rglob("*.swift")}
    # A list of fields is no use of them, and a table of ignored ones neither.
    lists = []
    bare = []
    for path, text in texts.items():
        text = re.sub(r"//[^\n]*", "", text)
        for match in re.finditer(r'reads:\s*\[([^\]]*)\]|handles:\s*((?:"[^"]*"\s*\+?\s*)+)', text):
            lists.append((path, set(re.findall(r"\w+", re.sub(r'[",+]', " ", match[1] or match[2] or "")))))
        if "Ignored" not in path.name:
            bare.append(re.sub(r'"[^"\n]*"', " ", text))
    ignored = "\n".join(text for path, text in texts.items() if "Ignored" in path.name)
    used = collections.Counter(re.findall(r"\w+", "\n".join(bare)))
    everything = collections.Counter(re.findall(r"\w+", "\n".join(texts.values())))
    words = {path: set(re.findall(r"\w+", text)) for path, text in texts.items()}
    problems = []
    for path, fields in lists:
        for field in sorted(fields):
            if camel(field) not in used:
                problems.append(f"{path.relative_to(ROOT)}: {field} is listed as read, and nothing reads it")
    for full, (swift, fields) in sorted(messages().items()):
        if OUTGOING.search(full) or full in UNREAD or swift not in everything:
            continue
        own = set(fields)
        # A list belongs to a message that has all of its fields; one field alone may be anybody's.
        if any(listed <= own and (len(listed) > 1 or swift in words[path]) for path, listed in lists if listed):
            continue
        for field in fields:
            if camel(field) in used or f'"{field}"' in ignored or f'{full}.{field}"' in ignored or f"{full} {field}" in UNREAD:
                continue
            problems.append(f"{full}: nobody reads, refuses or ignores {field}")
    for problem in problems:
        print(problem)
    print(f"fields-check: {len(lists)} lists of fields, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
