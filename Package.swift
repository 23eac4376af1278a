// swift-tools-version: 6.2
import Foundation
import PackageDescription

// The layers, bottom first. A target may import what its row names and nothing else:
// `make lint` compares every import with this table (tools/check-imports.py).
let layers: [(name: String, dependencies: [String])] = [
    ("Telemetry", []),
    ("Compression", ["CZlib", "CBrotli", "CZstd"]),
    ("Lua", ["CLuaJIT"]),
    ("Serialization", ["CYAML"]),
    ("CEL", ["Serialization"]),
    ("IO", ["CLinux", "Telemetry"]),
    ("TLS", ["COpenSSL", "IO", "Serialization"]),
    ("Identity", ["TLS", "Serialization"]),
    ("HTTP", ["CNGHTTP2", "IO", "TLS", "Serialization", "Telemetry"]),
    ("DNS", ["IO", "TLS", "Serialization", "Telemetry"]),
    ("EnvoyAPI", ["Serialization"]),
    ("KubernetesAPI", ["CEL", "Serialization"]),
    ("XDS", ["EnvoyAPI", "Serialization"]),
    ("Upstream", ["CEL", "CRE2", "EnvoyAPI", "Serialization", "Telemetry"]),
    (
        "Proxy",
        [
            "CEL", "Compression", "Lua", "Upstream", "XDS", "EnvoyAPI", "HTTP", "TLS", "DNS", "IO", "Serialization",
            "Telemetry",
        ]
    ),
    ("Etcd", ["DNS", "HTTP", "TLS", "IO", "Serialization", "Telemetry"]),
    ("Store", ["CSQLite", "Etcd", "HTTP", "TLS", "IO", "Serialization", "Telemetry"]),
    ("Registry", ["Store", "HTTP", "DNS", "TLS", "IO", "Serialization", "Telemetry"]),
    ("APIServer", ["Compression", "Store", "KubernetesAPI", "HTTP", "TLS", "IO", "Serialization", "Telemetry"]),
    ("Mesh", ["Upstream", "EnvoyAPI", "KubernetesAPI", "Serialization"]),
    ("Insight", ["Upstream", "Serialization"]),
    (
        "ControlPlane",
        [
            "Mesh", "Insight", "Upstream", "Registry", "APIServer", "Store", "XDS", "EnvoyAPI", "KubernetesAPI", "HTTP",
            "DNS",
            "Identity", "TLS", "IO", "Serialization", "Telemetry",
        ]
    ),
    ("Netlink", ["IO"]),
    ("CNI", ["Netlink", "IO", "Serialization"]),
    ("Docker", ["CNI", "HTTP", "IO", "Serialization", "Telemetry"]),
    ("Network", ["CNetlink", "CNFTables", "Netlink", "IO", "Serialization", "Telemetry"]),
    (
        "Workloads",
        [
            "CNI", "Compression", "Docker", "Network", "KubernetesAPI", "XDS", "EnvoyAPI", "HTTP", "Identity", "TLS",
            "IO",
            "Serialization", "Telemetry",
        ]
    ),
]

let programs: [(name: String, dependencies: [String])] = [
    (
        "skein",
        [
            "ControlPlane", "Insight", "Mesh", "APIServer", "Store", "Workloads", "Network", "Docker", "KubernetesAPI",
            "DNS", "HTTP", "Identity", "TLS", "IO", "Serialization", "Telemetry",
        ]
    ),
    ("skein-proxy", ["Proxy", "IO", "Serialization", "Telemetry"]),
    ("skein-cni", ["CNI", "IO"]),
    ("skein-bench", ["XDS", "EnvoyAPI", "HTTP", "DNS", "TLS", "IO", "Serialization", "Telemetry"]),
]

/// `SKEIN_PART=skein-proxy swift build --build-tests` builds one program, what is below it and the tests of that: a third of the time.
let part = Context.environment["SKEIN_PART"]

/// The names of everything that is built.
let built: Set<String> = {
    guard let part else { return Set((layers + programs).map(\.name)) }
    var names = Set(part.split(separator: ",").map(String.init))
    for row in (layers + programs).reversed() where names.contains(row.name) { names.formUnion(row.dependencies) }
    return names
}()

let doors: [(name: String, libraries: [String], packages: [String])] = [
    ("CYAML", ["yaml"], ["libyaml-dev"]),
    ("COpenSSL", ["ssl", "crypto"], ["libssl-dev"]),
    ("CNGHTTP2", ["nghttp2"], ["libnghttp2-dev"]),
    ("CSQLite", ["sqlite3"], ["libsqlite3-dev"]),
    ("CNetlink", ["nl-route-3", "nl-3"], ["libnl-route-3-dev"]),
    ("CNFTables", ["nftables"], ["libnftables-dev"]),
    ("CZlib", ["z"], ["zlib1g-dev"]),
    ("CLuaJIT", ["luajit-5.1", "m", "dl"], ["libluajit-5.1-dev"]),
    ("CBrotli", ["brotlienc", "brotlidec", "brotlicommon"], ["libbrotli-dev"]),
    ("CZstd", ["zstd"], ["libzstd-dev"]),
]

/// What has decoders for bytes from outside.
let fuzzed = ["Proxy", "CEL", "Compression", "Upstream", "EnvoyAPI", "DNS", "TLS", "HTTP", "IO", "Serialization"]

/// `make fuzz-libfuzzer`: the fuzz targets as a program around libFuzzer in the place of a test.
let isFuzzing = Context.environment["SKEIN_FUZZ"] == "1"

/// The test targets: a layer's tests may import what the layer may, and `more`; `data` are folders that are read, not compiled.
let suites: [(name: String, more: [String], data: [String])] = [
    ("Serialization", [], []),
    ("CEL", [], []),
    ("Compression", [], []),
    ("Lua", [], []),
    ("IO", [], []),
    ("TLS", [], []),
    ("Identity", [], []),
    ("HTTP", [], []),
    ("DNS", [], []),
    ("EnvoyAPI", [], []),
    ("KubernetesAPI", [], []),
    ("XDS", [], ["Transcripts"]),
    ("Upstream", [], []),
    ("Proxy", [], []),
    ("Etcd", [], []),
    ("Store", [], []),
    ("Registry", [], []),
    ("APIServer", [], []),
    ("Mesh", [], ["Golden"]),
    ("MeshBehaviour", ["Mesh", "Proxy", "EnvoyAPI", "KubernetesAPI", "TLS", "IO", "Serialization"], []),
    ("Insight", ["IO"], []),
    ("ControlPlane", [], []),
    ("CNI", [], []),
    ("Docker", [], []),
    ("Network", [], []),
    ("Workloads", [], []),
    ("Namespace", ["Workloads", "Network", "Netlink", "KubernetesAPI", "IO", "Serialization"], []),
    ("Fuzz", fuzzed, ["Corpus", "LibFuzzer"]),
]

let isStatic = Context.environment["SKEIN_STATIC"] == "1"

let languageSettings: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableExperimentalFeature("Lifetimes"),
]
/// Release builds leave out the run-time checks of exclusive access, which cost a request more than its routing (docs/decisions/0009);
/// debug builds, and so all tests, have them.
let swiftSettings =
    languageSettings + [
        .unsafeFlags(
            ["-cross-module-optimization", "-enforce-exclusivity=unchecked", "-Xfrontend", "-function-sections"],
            .when(configuration: .release))
    ]

/// Messages are many, and nothing hot reads them: small is enough. (Not optimized at all, they cost a start with 10,000 clusters a third of its time.)
let messageSettings =
    languageSettings + [.unsafeFlags(["-Osize", "-Xfrontend", "-function-sections"], .when(configuration: .release))]

/// The READMEs inside of a target's folders, for people, and files that a tool makes Swift of: not for the compiler.
func readMes(_ target: String) -> [String] {
    let folder = Context.packageDirectory + "/Sources/" + target
    return (FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? [])
        .filter { $0.hasSuffix("README.md") || $0.hasSuffix("/Assets") }.sorted()
}

func depend(_ names: [String]) -> [Target.Dependency] { names.map { .byName(name: $0) } }

/// Libraries that are not asked for as archives: the C library's own parts follow how the program is linked.
let shared: Set<String> = ["nftables", "m", "dl"]

/// The C libraries that a target's doors stand for; archives when the product is linked statically.
func links(_ dependencies: [String]) -> [LinkerSetting] {
    doors.filter { dependencies.contains($0.name) }.flatMap(\.libraries).map {
        .linkedLibrary(isStatic && !shared.contains($0) ? ":lib\($0).a" : $0)
    }
}

/// The functions that serving needs lie side by side (tools/function-order.py).
///
/// A page fault brings 64 KiB of the program into memory. Constants lie where nobody can write (tools/constants.ld): they can be let go of
/// as code is.
let order = LinkerSetting.unsafeFlags(
    [
        "-use-ld=lld", "-Xlinker", "--symbol-ordering-file=\(Context.packageDirectory)/tools/function-order.txt",
        "-Xlinker", "--no-warn-symbol-ordering",
        "-Xlinker", "-T", "-Xlinker", "\(Context.packageDirectory)/tools/constants.ld",
        // No multiple of 2 MiB: so that the kernel does not bring 2 MiB of constants at once where the file is cached in such pieces.
        "-Xlinker", "--image-base=0x210000",
    ], .when(configuration: .release))

var targets: [Target] = [
    .target(name: "CLinux", cSettings: [.define("_GNU_SOURCE")]),
    .target(
        name: "CRE2",
        linkerSettings: isStatic
            ? [.linkedLibrary(":libre2.a"), .linkedLibrary(":libstdc++.a")] : [.linkedLibrary("re2")]),
]
// These doors have a little C of their own.
let written = ["COpenSSL", "CLuaJIT"]
targets += written.map { .target(name: $0) }
for door in doors where !written.contains(door.name) {
    targets.append(
        .systemLibrary(
            name: door.name, pkgConfig: door.name == "CNetlink" ? "libnl-route-3.0" : nil,
            providers: [.apt(door.packages)]))
}
for layer in layers where built.contains(layer.name) {
    targets.append(
        .target(
            name: layer.name, dependencies: depend(layer.dependencies), exclude: readMes(layer.name),
            swiftSettings: layer.name == "EnvoyAPI" ? messageSettings : swiftSettings,
            linkerSettings: links(layer.dependencies)))
}
for program in programs where built.contains(program.name) {
    targets.append(
        .executableTarget(
            name: program.name, dependencies: depend(program.dependencies), swiftSettings: swiftSettings,
            linkerSettings: isStatic && program.name == "skein-proxy"
                ? [.unsafeFlags(["-static-executable"]), order]
                : isStatic && program.name == "skein-cni" ? [.unsafeFlags(["-static-executable"])] : []))
}
if isFuzzing {
    targets.append(
        .executableTarget(
            name: "skein-fuzz", dependencies: depend(fuzzed), path: "Tests/FuzzTests",
            exclude: ["Corpus", "FuzzTests.swift"], swiftSettings: swiftSettings + [.unsafeFlags(["-parse-as-library"])]
        ))
}
for suite in suites
where
    (built.contains(suite.name) || part == nil || suite.name == "Fuzz" && built.contains("Proxy")
    || suite.name == "MeshBehaviour" && built.isSuperset(of: ["Mesh", "Proxy"]))
    && !(suite.name == "Fuzz" && isFuzzing)
{
    let layer = layers.filter { $0.name == suite.name }
    let libraries = Set(layers.map(\.name))
    targets.append(
        .testTarget(
            name: "\(suite.name)Tests",
            dependencies: depend(suite.more + layer.flatMap { [$0.name] + $0.dependencies.filter(libraries.contains) }),
            exclude: suite.data, swiftSettings: swiftSettings))
}

let package = Package(name: "skein", targets: targets, cxxLanguageStandard: .cxx17)
