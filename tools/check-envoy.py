#!/usr/bin/env python3
"""Compares tools/envoy with the published descriptors (PyPI `xds-protos`; not needed to build).

Prints what is wrong (a name, number, type or oneof that differs) and, with --missing, what a described message leaves
out and what is newer than the installed descriptors. Exit status 1 if anything is wrong.
"""
import importlib
import pathlib
import runpy
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOT_PUBLISHED = ("stats.", "io.istio.", "istio.", "envoy.tcp.metadataexchange.", "skein.")  # Istio's own and ours.
RENAMED = {"scope_spans", "scope_logs"}  # Fields whose published name here is an older one.
PREFIXES = ("envoy", "xds", "udpa", "opentelemetry", "google.rpc", "google.protobuf")
SKIPPED = (".v2.", ".v2alpha", "v4alpha", "contrib")


def load_all():
    """Imports every generated module, so that the pool knows every message."""
    for prefix in PREFIXES:
        for root in map(pathlib.Path, importlib.import_module(prefix).__path__):
            for path in sorted(root.rglob("*_pb2.py")):
                name = ".".join([prefix, *path.relative_to(root).with_suffix("").parts])
                if not any(s in name for s in SKIPPED):
                    try:
                        importlib.import_module(name)
                    except Exception as error:
                        print(f"{name} cannot be loaded: {error}", file=sys.stderr)
    from google.protobuf import descriptor_pool
    return descriptor_pool.Default()


SCALARS = {1: "double", 2: "float", 3: "i64", 4: "u64", 5: "i32", 6: "fixed64", 7: "fixed32", 8: "bool", 9: "string",
           12: "bytes", 13: "u32", 15: "sfixed32", 16: "sfixed64", 17: "sint32", 18: "sint64"}
KNOWN = {"google.protobuf.Duration": "dur", "google.protobuf.Timestamp": "time", "google.protobuf.Any": "any",
         "google.protobuf.Struct": "struct", "google.protobuf.Value": "value", "google.protobuf.ListValue": "list",
         "google.protobuf.UInt32Value": "u32?", "google.protobuf.UInt64Value": "u64?",
         "google.protobuf.Int32Value": "i32?", "google.protobuf.Int64Value": "i64?",
         "google.protobuf.BoolValue": "bool?", "google.protobuf.DoubleValue": "double?",
         "google.protobuf.FloatValue": "float?", "google.protobuf.StringValue": "string?",
         "google.protobuf.BytesValue": "bytes?"}


def single(field):
    """The type of a field of a descriptor in our spelling, or the full name of a message or enum."""
    if field.message_type:
        return KNOWN.get(field.message_type.full_name, field.message_type.full_name)
    return field.enum_type.full_name if field.enum_type else SCALARS[field.type]


def is_repeated(field):
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == 3


def published(field):
    if field.message_type and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        return f"{{{single(key)}:{single(value)}}}"
    return f"[{single(field)}]" if is_repeated(field) else single(field)


def ours(kind, made, generator):
    """The type of a field of ours, with full names."""
    if kind[0] == "[":
        return f"[{ours(kind[1:-1], made, generator)}]"
    if kind[0] == "{":
        key, _, value = kind[1:-1].rpartition(":")
        return f"{{{key or 'string'}:{ours(value, made, generator)}}}"
    known = generator["SCALARS"].keys() | generator["VALUES"].keys() | generator["DYNAMIC"].keys()
    if kind in known or kind.endswith("?"):
        return kind
    return generator["instance"].find(kind, made).proto


def check(made, pool, generator, missing, say):
    if made.proto.startswith(NOT_PUBLISHED):
        return
    try:
        find = pool.FindEnumTypeByName if made.kind == "enum" else pool.FindMessageTypeByName
        theirs = find(made.proto)
    except KeyError:
        return missing and print(f"{made.proto}: newer than what is published")
    if made.kind == "enum":
        values = {v.name: v.number for v in theirs.values}
        for name, number in made.values:
            if values.get(name, number) != number or (name not in values and number in values.values()):
                say(f"{made.proto}: {name} {number} is {values.get(name)}")
        for name in values.keys() - {n for n, _ in made.values}:
            if missing:
                print(f"{made.proto}: without {name} {values[name]}")
        return
    for field in made.fields:
        want = theirs.fields_by_name.get(field.name)
        if not want:
            if field.number in theirs.fields_by_number and field.name not in RENAMED:
                say(f"{made.proto}: {field.name} {field.number} is {theirs.fields_by_number[field.number].name}")
            elif missing:
                print(f"{made.proto}: {field.name} {field.number} is newer than what is published")
            continue
        if want.number != field.number:
            say(f"{made.proto}: {field.name} is {want.number}, not {field.number}")
        if published(want) != ours(field.kind, made, generator):
            say(f"{made.proto}: {field.name} is {published(want)}, not {ours(field.kind, made, generator)}")
        oneof = want.containing_oneof.name if want.containing_oneof else None
        if oneof != field.oneof and not (oneof or "").startswith("_"):
            say(f"{made.proto}: {field.name} is in the oneof {oneof}, not {field.oneof}")
    if missing:
        for want in theirs.fields:
            if want.name not in {f.name for f in made.fields} and not want.GetOptions().deprecated:
                oneof = f" (oneof {want.containing_oneof.name})" if want.containing_oneof else ""
                print(f"{made.proto}: without {want.name} {want.number} {published(want)}{oneof}")
    for nested in made.nested:
        check(nested, pool, generator, missing, say)


def main():
    sys.argv, argv = [sys.argv[0], "--check"], sys.argv
    generator = runpy.run_path(str(ROOT / "tools" / "generate-envoy.py"), run_name="generate")
    types, wrong = [], []
    for path in sorted((ROOT / "tools" / "envoy").glob("*.txt")):
        generator["Parser"](path, types).file()
    generator["instance"] = generator["Generator"](types, *generator["MODULES"][0])
    pool = load_all()
    for made in types:
        check(made, pool, generator, "--missing" in argv, wrong.append)
    print("\n".join(wrong) or f"{len(types)} types agree with the published descriptors")
    sys.exit(1 if wrong else 0)


main()
