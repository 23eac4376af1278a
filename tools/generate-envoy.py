#!/usr/bin/env python3
"""Writes Sources/EnvoyAPI from the descriptions in tools/envoy, and Sources/Etcd/Messages from those in tools/etcd.

A description is one package per section:

    package envoy.config.core.v3
    message Locality { region 1, zone 2, sub_zone 3 }
    message Cluster as ClusterConfig {      # another Swift name, where two packages have one name
        name 1                              # a string, the most common type
        priority 2 u32?                     # a wrapper: google.protobuf.UInt32Value
        endpoints 3 [Endpoint]              # repeated
        labels 4 {string}                   # map<string, string>; {u32:Foo} is map<uint32, Foo>
        oneof kind { type 5 DiscoveryType, config 6 any }
        enum DiscoveryType { STATIC 0, EDS 3 }
    }

Types: string bytes bool u32 u64 i32 i64 double float fixed32 fixed64; dur time any struct value list; a message or enum of
this scope, this package, or any package when the name is the only one (`core.RetryPolicy` picks a package).

    tools/generate-envoy.py           writes
    tools/generate-envoy.py --check   says what would change, exit status 1 if anything
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Where the descriptions are, where the messages go, the module, and the name of the module's own protocol of messages without its end.
MODULES = [("tools/envoy", "Sources/EnvoyAPI", "EnvoyAPI", "Envoy"), ("tools/etcd", "Sources/Etcd/Messages", "Etcd", "Etcd")]
SCALARS = {"string": "String", "bytes": "[UInt8]", "bool": "Bool", "u32": "UInt32", "u64": "UInt64", "i32": "Int32",
           "i64": "Int64", "double": "Double", "float": "Float", "fixed32": "Fixed32", "fixed64": "Fixed64"}
VALUES = {"dur": "Swift.Duration", "time": "Timestamp", "any": "AnyMessage"}
DYNAMIC = {"struct": "structure", "value": "value", "list": "list"}
ZERO = {"String": '""', "[UInt8]": "[]", "Bool": "false", "UInt32": "0", "UInt64": "0", "Int32": "0", "Int64": "0",
        "Double": "0", "Float": "0", "Fixed32": "0", "Fixed64": "0"}
SIZES = {"String": 16, "[UInt8]": 8, "Bool": 1, "UInt32": 4, "UInt64": 8, "Int32": 4, "Int64": 8, "Double": 8,
         "Float": 4, "Fixed32": 4, "Fixed64": 8, "Swift.Duration": 16, "Timestamp": 16, "AnyMessage": 24, "JSON": 17}
INLINE_MAX = 48  # A message larger than this is kept outside the one that has it.
KEYWORDS = set("""associatedtype class deinit enum extension fileprivate func import init inout internal let open
operator private protocol public rethrows static struct subscript typealias var break case continue default defer do
else fallthrough for guard if in repeat return switch where while as catch false is nil super self Self throw throws
true try Any Type Protocol""".split())


def fail(text):
    sys.exit("generate-envoy: " + text)


def upper(name):
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def lower(name):
    if len(name) > 1 and name.isupper():  # An abbreviation: `TTL` is `ttl`.
        return name.lower()
    name = upper(name)
    return name[:1].lower() + name[1:]


def quoted(name):
    return f"`{name}`" if name in KEYWORDS else name


def oneof_type(name):
    """The Swift type of a oneof; `X.Type` means something else in Swift, whatever the quotes."""
    return "TypeSpecifier" if name == "type" else upper(name)


class Field:
    def __init__(self, name, number, kind, oneof=None):
        self.name, self.number, self.kind, self.oneof = name, number, kind, oneof
        self.property = quoted(lower(name))


class Type:
    def __init__(self, kind, name, package, outer, swift=None):
        self.kind, self.name, self.package, self.outer = kind, name, package, outer
        self.fields, self.values, self.nested, self.oneofs = [], [], [], []
        self.proto = (outer.proto if outer else package) + "." + name
        self.swift = (outer.swift + "." if outer else "") + quoted(swift or name)

    @property
    def leaf(self):
        return self.swift.rsplit(".", 1)[-1]


class Parser:
    def __init__(self, path, types):
        text = "\n".join(line.split("#")[0] for line in path.read_text().splitlines())
        self.tokens = re.findall(r"[{}\[\],\n]|[^\s{}\[\],]+", text)
        self.path, self.at, self.types, self.package = path, 0, types, None

    def peek(self, skip=True):
        while skip and self.at < len(self.tokens) and self.tokens[self.at] in "\n,":
            self.at += 1
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def next(self, want=None):
        token = self.peek()
        self.at += 1
        if token is None or (want and token != want):
            fail(f"{self.path.name}: {want or 'a word'} expected, {token!r} found near {self.tokens[max(0, self.at - 8):self.at]}")
        return token

    def file(self):
        while self.peek():
            word = self.next()
            if word == "package":
                self.package = self.next()
            else:
                self.declaration(word, None)

    def declaration(self, word, outer):
        if word not in ("message", "enum"):
            fail(f"{self.path.name}: message, enum or package expected, {word!r} found")
        name, swift = self.next(), None
        if self.peek() == "as":
            self.next()
            swift = self.next()
        made = Type(word, name, self.package, outer, swift)
        (outer.nested if outer else self.types).append(made)
        self.next("{")
        while self.peek() != "}":
            if word == "enum":
                value = self.next()
                made.values.append((value, int(self.next())))
            else:
                self.member(made, None)
        self.next("}")

    def member(self, made, oneof):
        name = self.next()
        following = self.peek()
        if name in ("message", "enum") and not following.isdigit():
            return self.declaration(name, made)
        if name == "oneof" and not following.isdigit():
            oneof = self.next()
            made.oneofs.append(oneof)
            self.next("{")
            while self.peek() != "}":
                self.member(made, oneof)
            return self.next("}")
        number, kind = int(self.next()), "string"
        token = self.peek(skip=False)
        if token in ("[", "{"):
            kind = token
            self.at += 1
            while kind[-1] not in "]}":
                kind += self.next()
        elif token not in (",", "\n", "}", None):
            kind = self.next()
        made.fields.append(Field(name, number, kind, oneof))


class Generator:
    def __init__(self, types, source, out, module, prefix):
        self.types, self.source, self.out, self.module, self.prefix = types, source, ROOT / out, module, prefix
        self.top, self.sizes = {}, {}
        for made in types:
            if made.swift in [t.swift for ts in self.top.values() for t in ts]:
                fail(f"two types are called {made.swift}: name one with `as`")
            self.top.setdefault(made.name, []).append(made)

    def find(self, name, scope):
        if "." in name:
            package, name = name.split(".", 1)
            for made in self.top.get(name.split(".")[0], []):
                if package in made.package.split("."):
                    return self.descend(made, name.split(".")[1:])
            for made in self.top.get(package, []):
                return self.descend(made, name.split("."))
            fail(f"{scope.proto}: no type {package}.{name}")
        outer = scope
        while outer:
            for made in outer.nested:
                if made.name == name:
                    return made
            outer = outer.outer
        found = self.top.get(name, [])
        same = ([t for t in found if t.package == scope.package] or [t for t in found if t.swift == name] or found)
        if len(same) != 1:
            fail(f"{scope.proto}: {len(same)} types are called {name}")
        return same[0]

    def descend(self, made, names):
        for name in names:
            made = next((t for t in made.nested if t.name == name), None) or fail(f"no nested type {name}")
        return made

    def reference(self, made, scope):
        """The Swift name of a type, seen from inside another one."""
        first = made.swift.split(".")[0]
        outer = scope
        while outer:
            shadows = [t.leaf for t in outer.nested] + [oneof_type(o) for o in outer.oneofs]
            if first in shadows:
                return self.module + "." + made.swift
            outer = outer.outer
        return made.swift

    def resolve(self, kind, scope):
        """(what it is, Swift type, type or None)."""
        if kind in SCALARS:
            return "scalar", SCALARS[kind], None
        if kind.endswith("?"):
            return "wrapped", SCALARS[kind[:-1]], None
        if kind in VALUES:
            return "value", VALUES[kind], None
        if kind in DYNAMIC:
            return "dynamic", "JSON", None
        if kind[0] == "[":
            what, swift, made = self.resolve(kind[1:-1], scope)
            if what == "dynamic":
                fail(f"{scope.proto}: a repeated {kind} is not supported")
            return "repeated", f"[{swift}]", made
        if kind[0] == "{":
            key, _, value = kind[1:-1].rpartition(":")
            what, swift, made = self.resolve(value, scope)
            if what == "dynamic":
                return "dynamicMap", "[String: JSON]", None
            return "map", f"[{SCALARS[key or 'string']}: {swift}]", made
        made = self.find(kind, scope)
        return made.kind, self.reference(made, scope), made

    def size(self, made):
        """About how many bytes a value takes inside another."""
        if made.kind == "enum":
            return 5
        if made.proto in self.sizes:
            return self.sizes[made.proto]
        self.sizes[made.proto] = 1_000_000  # Contains itself, unless it turns out otherwise.
        total = 9 * len(made.oneofs)
        for field in made.fields:
            if not field.oneof:
                what, swift, of = self.resolve(field.kind, made)
                total += {"repeated": 8, "map": 8, "dynamicMap": 8, "enum": 5}.get(what) or (
                    min(self.size(of) + 1, 8) if what == "message" and self.size(of) > INLINE_MAX
                    else self.size(of) + 1 if what == "message" else SIZES[swift] + 1)
        self.sizes[made.proto] = total
        return total

    def emit(self, made, indent, lines):
        pad = "    " * indent
        put = lambda text: lines.append(pad + text if text else "")
        if made.kind == "enum":
            return self.emit_enum(made, put)
        put(f"/// The message `{made.proto}`.")
        put(f"public struct {made.leaf}: {self.prefix}Message {{")
        pad += "    "
        for field in made.fields:
            if field.oneof:
                continue
            what, swift, of = self.resolve(field.kind, made)
            put(f"/// `{field.name}`, field {field.number}.")
            if what in ("repeated", "map", "dynamicMap"):
                put(f"public var {field.property}: {swift} = {'[]' if what == 'repeated' else '[:]'}")
            elif what == "scalar":
                put(f"public var {field.property}: {swift} = {ZERO[swift]}")
            elif what == "enum":
                put(f"public var {field.property} = {swift}()")
            elif what == "message" and self.size(of) > INLINE_MAX:
                put(f"@Indirect public var {field.property}: {swift}?")
            else:
                put(f"public var {field.property}: {swift}?")
        for oneof in made.oneofs:
            put(f"/// At most one of the fields of `{oneof}`.")
            put(f"public var {quoted(lower(oneof))}: {oneof_type(oneof)}?")
        put("/// The message with every field at its default.")
        put("public init() {}")
        for oneof in made.oneofs:
            members = [f for f in made.fields if f.oneof == oneof]
            if oneof_type(oneof) in [t.leaf for t in made.nested]:
                fail(f"{made.proto}: the oneof {oneof} has the name of a nested type")
            put("")
            put(f"/// The fields of which `{oneof}` holds at most one.")
            put(f"public indirect enum {oneof_type(oneof)}: Hashable, Sendable {{")
            for field in members:
                put(f"    /// `{field.name}`, field {field.number}.")
                put(f"    case {field.property}({self.resolve(field.kind, made)[1]})")
            put("}")
        for nested in made.nested:
            put("")
            self.emit(nested, indent + 1, lines)
        put("")
        put("/// The names of the fields.")
        table = " ".join(f"{f.name} {f.number}" for f in made.fields)
        put(f'public static let schema = MessageSchema("{made.proto}", "{table}")')
        put("/// Reads one field.")
        put("public mutating func decodeField(_ number: Int, _ decoder: MessageDecoder) throws(MessageError) {")
        if made.fields:
            put("    switch number {")
            for field in made.fields:
                for line in self.decode(field, made):
                    put("    " + line)
            put("    default: try decoder.unknown()")
            put("    }")
        else:
            put("    try decoder.unknown()")
        put("}")
        put("/// Writes the fields.")
        put("public func encodeFields(_ encoder: MessageEncoder) {")
        done = set()
        for field in made.fields:
            if not field.oneof:
                put("    " + self.encode(field, made))
            elif field.oneof not in done:
                done.add(field.oneof)
                put(f"    switch {lower(field.oneof)} {{" if lower(field.oneof) not in KEYWORDS else f"    switch self.{lower(field.oneof)} {{")
                put("    case nil: break")
                for member in [f for f in made.fields if f.oneof == field.oneof]:
                    what = self.resolve(member.kind, made)[0]
                    call = {"wrapped": "wrapped({}, value)", "dynamic": "dynamic({}, value, .%s)" % DYNAMIC.get(member.kind, "")}
                    put(f"    case .{member.property}(let value): encoder."
                        + call.get(what, "field({}, value)").format(member.number))
                put("    }")
        put("}")
        pad = pad[:-4]
        put("}")

    def decode(self, field, made):
        what, swift, of = self.resolve(field.kind, made)
        place = f"&self.{field.property}"
        if field.oneof:
            oneof = f"self.{lower(field.oneof)}"
            call = {"wrapped": "decoder.wrappedValue()",
                    "dynamic": f"decoder.dynamicValue(.{DYNAMIC.get(field.kind)})"}.get(what, "decoder.value()")
            return [f"case {field.number}:", f"    try decoder.exclusive({oneof} == nil)",
                    f"    {oneof} = .{field.property}(try {call})"]
        call = {"scalar": f"singular({place})", "enum": f"singular({place})", "wrapped": f"wrapped({place})",
                "value": f"optional({place})", "message": f"message({place})", "repeated": f"repeated({place})",
                "map": f"map({place})", "dynamicMap": f"dynamicMap({place}, .{DYNAMIC.get(field.kind.strip('{}'))})",
                "dynamic": f"dynamic({place}, .{DYNAMIC.get(field.kind)})"}[what]
        return [f"case {field.number}: try decoder.{call}"]

    def encode(self, field, made):
        what, _, of = self.resolve(field.kind, made)
        name = {"scalar": "singular", "enum": "singular", "value": "optional", "message": "optional"}.get(what, what)
        tail = f", .{DYNAMIC[field.kind.strip('{}')]}" if what.startswith("dynamic") else ""
        return f"encoder.{name}({field.number}, self.{field.property}{tail})"

    def emit_enum(self, made, put):
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", made.name).upper() + "_"
        cases = []
        values = {}
        for name, number in made.values:
            values.setdefault(number, name)  # A second name of a number is read, and no case of its own.
        for number, name in values.items():
            short = name[len(prefix):] if name.startswith(prefix) else name
            if "_" in short or not re.search("[a-z]", short):
                case = lower(short.lower())
            else:  # Already CamelCase: only the capitals at the begin become small.
                head = re.match("[A-Z]*?(?=[A-Z][a-z]|[^A-Z])|[A-Z]*", short[1:]).group()
                case = (short[0] + head).lower() + short[1 + len(head):]
            cases.append((quoted(case if not case[0].isdigit() else "_" + case), number))
        put(f"/// The enumeration `{made.proto}`.")
        put(f"public enum {made.leaf}: EnumValue {{")
        for case, number in cases:
            put(f"    /// `{values[number]}`, {number}.")
            put(f"    case {case}")
        put("    /// A number that the description does not name.")
        put("    case unrecognized(Int32)")
        put("    /// The names of the values.")
        table = " ".join(f"{name} {number}" for name, number in made.values)
        put(f'    public static let schema = EnumSchema("{table}")')
        put("    /// The value of that number.")
        put("    public init(rawValue: Int32) {")
        put("        switch rawValue {")
        for case, number in cases:
            put(f"        case {number}: self = .{case}")
        put("        default: self = .unrecognized(rawValue)")
        put("        }")
        put("    }")
        put("    /// The number.")
        put("    public var rawValue: Int32 {")
        put("        switch self {")
        for case, number in cases:
            put(f"        case .{case}: {number}")
        put("        case .unrecognized(let number): number")
        put("        }")
        put("    }")
        put("}")

    def files(self):
        head = f"// Generated by tools/generate-envoy.py from {self.source}; do not edit.\n// swift-format-ignore-file\n"
        for made in self.types:
            lines = []
            self.emit(made, 0, lines)
            path = self.out / made.package.replace(".", "/") / (made.swift + ".swift")
            yield path, head + "public import Serialization\n\n" + "\n".join(lines) + "\n"
        messages = sorted((t.proto.encode(), t.swift) for t in self.types if t.kind == "message")
        names = " ".join(name.decode() for name, _ in messages)
        body = "".join(f"        case {number}: {swift}.self\n" for number, (_, swift) in enumerate(messages))
        yield self.out / f"{self.prefix}Messages.swift", head + f"""public import Serialization

/// A message of this module: what may stand in its `Any` fields are the messages of this module.
public protocol {self.prefix}Message: Message {{}}

extension {self.prefix}Message {{
    /// The messages of this module.
    public static var registry: MessageRegistry {{ .{self.prefix.lower()} }}
}}

extension MessageRegistry {{
    /// The messages of this module.
    public static let {self.prefix.lower()} = MessageRegistry(
        "{names}",
        message)

    private static func message(_ number: Int) -> (any Message.Type)? {{
        switch number {{
{body}        default: nil
        }}
    }}
}}
"""


def main():
    failed = False
    for module in MODULES:
        types, out = [], ROOT / module[1]
        for path in sorted((ROOT / module[0]).glob("*.txt")):
            Parser(path, types).file()
        wanted = dict(Generator(types, *module).files())
        have = {path for path in out.rglob("*.swift") if path.read_text().startswith("// Generated by")}
        changed = [p for p, text in wanted.items() if not p.exists() or p.read_text() != text]
        if "--check" in sys.argv:
            for path in changed + sorted(have - wanted.keys()):
                print(f"{path.relative_to(ROOT)} is not what tools/generate-envoy.py writes")
            failed = failed or bool(changed or have - wanted.keys())
            continue
        for path in have - wanted.keys():
            path.unlink()
        for path in changed:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
        print(f"{module[2]}: {len(types)} types, {sum(len(t.fields) for t in types)} fields, {len(changed)} files written")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
