import KubernetesAPI
import Serialization

/// Annotations of Istio and of Skein that nobody reads, that stand at the wrong kind, or whose value cannot be.
///
/// Others are nobody's business here.
struct AnnotationAnalysis {
    let key: NamespacedName
    let object: KubernetesObject

    /// What a value may be.
    enum Value {
        case any
        case flag
        /// Port numbers with commas between; also none, or `*`.
        case ports
        /// Ranges in CIDR form with commas between; also none, or `*`.
        case ranges
        case oneOf([String])
    }

    /// An annotation that is read here.
    struct Entry {
        /// Where it counts: `Pod` stands for templates of pods as well; empty means anywhere.
        var kinds: Set<String>
        var value: Value

        init(_ kinds: Set<String>, _ value: Value = .any) {
            self.kinds = kinds
            self.value = value
        }
    }

    /// Those that mean something here.
    static let read: [String: Entry] = [
        "sidecar.istio.io/inject": Entry(["Pod"], .flag),
        "sidecar.istio.io/interceptionMode": Entry(["Pod"], .oneOf(["REDIRECT"])),
        "traffic.sidecar.istio.io/includeInboundPorts": Entry(["Pod"], .ports),
        "traffic.sidecar.istio.io/excludeInboundPorts": Entry(["Pod"], .ports),
        "traffic.sidecar.istio.io/includeOutboundPorts": Entry(["Pod"], .ports),
        "traffic.sidecar.istio.io/excludeOutboundPorts": Entry(["Pod"], .ports),
        "traffic.sidecar.istio.io/includeOutboundIPRanges": Entry(["Pod"], .ranges),
        "traffic.sidecar.istio.io/excludeOutboundIPRanges": Entry(["Pod"], .ranges),
        "proxy.istio.io/config": Entry(["Pod"]),
        "inject.istio.io/templates": Entry(["Pod"]),
        "istio.io/dry-run": Entry(["AuthorizationPolicy"], .flag),
        "networking.istio.io/exportTo": Entry(["Service"]),
        "networking.istio.io/traffic-distribution": Entry(
            ["Service"], .oneOf(["PreferClose", "PreferSameZone", "PreferSameNode", "Any"])),
        "galley.istio.io/analyze-suppress": Entry([]),
        "skein.dev/analyze-suppress": Entry([]),
        "istio.io/autoRegistrationGroup": Entry(["WorkloadEntry"]),
        "istio.io/connectedAt": Entry(["WorkloadEntry"]),
        "istio.io/disconnectedAt": Entry(["WorkloadEntry"]),
        "istio.io/workloadController": Entry(["WorkloadEntry"]),
        "proxy.istio.io/health-checks-enabled": Entry(["WorkloadEntry"], .flag),
        "skein.dev/source": Entry([]),
        "skein.dev/gateway": Entry(["Pod"], .flag),
        "skein.dev/proxyless": Entry(["Pod"], .flag),
        "skein.dev/on-demand": Entry(["Pod"], .flag),
        "skein.dev/drained": Entry(["Pod"]),
    ]

    /// Istio's that have no effect here: its injector, its other data plane, its operator.
    static let without: Set<String> = [
        "alpha.istio.io/identity", "ambient.istio.io/redirection", "ambient.istio.io/bypass-inbound-capture",
        "ambient.istio.io/dns-capture", "istio.io/rev", "istio.io/reroute-virtual-interfaces",
        "networking.istio.io/address-type", "networking.istio.io/service-type", "prometheus.istio.io/merge-metrics",
        "proxy.istio.io/overrides", "readiness.status.sidecar.istio.io/applicationPorts",
        "readiness.status.sidecar.istio.io/failureThreshold",
        "readiness.status.sidecar.istio.io/initialDelaySeconds",
        "readiness.status.sidecar.istio.io/periodSeconds", "security.istio.io/autoMTLS",
        "sidecar.istio.io/agentLogLevel", "sidecar.istio.io/bootstrapOverride",
        "sidecar.istio.io/componentLogLevel", "sidecar.istio.io/controlPlaneAuthPolicy",
        "sidecar.istio.io/discoveryAddress", "sidecar.istio.io/enableCoreDump", "sidecar.istio.io/extraStatTags",
        "sidecar.istio.io/logLevel", "sidecar.istio.io/nativeSidecar", "sidecar.istio.io/proxyCPU",
        "sidecar.istio.io/proxyCPULimit", "sidecar.istio.io/proxyImage", "sidecar.istio.io/proxyImageType",
        "sidecar.istio.io/proxyMemory", "sidecar.istio.io/proxyMemoryLimit",
        "sidecar.istio.io/rewriteAppHTTPProbers", "sidecar.istio.io/statsCompression",
        "sidecar.istio.io/statsHistogramBuckets", "sidecar.istio.io/statsInclusionPrefixes",
        "sidecar.istio.io/statsInclusionRegexps", "sidecar.istio.io/statsInclusionSuffixes",
        "sidecar.istio.io/status", "sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount",
        "status.sidecar.istio.io/port", "topology.istio.io/controlPlaneClusters",
    ]

    /// Istio's that a pod cannot have here: nobody sets up its network as they ask.
    private static let refused = "traffic.sidecar.istio.io/"

    /// Whole groups of them.
    private static let groupsWithout = ["install.operator.istio.io/", "internal.istio.io/", "gateway.istio.io/"]

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        for (path, name, value) in annotations {
            let field = "\(path)[\(name)]"
            if let entry = Self.read[name] {
                if !entry.kinds.isEmpty, !entry.kinds.contains(path.hasPrefix("spec.template.") ? "Pod" : object.kind) {
                    found.append(
                        finding(
                            .misplacedAnnotation, field,
                            "counts at \(entry.kinds.sorted().joined(separator: ", ")) only: here it has no effect"))
                } else if let problem = Self.problem(value, entry.value) {
                    found.append(finding(.annotationValue, field, problem))
                }
            } else if name.hasPrefix(Self.refused), Self.nearest(name) == nil {
                found.append(
                    finding(.annotationValue, field, "\(name) is not supported: a pod with it does not start"))
            } else if Self.without.contains(name) || Self.groupsWithout.contains(where: name.hasPrefix) {
                found.append(
                    finding(.annotationWithoutEffect, field, "\(name) is known to Istio and has no effect here"))
            } else {
                let near = Self.nearest(name)
                found.append(
                    finding(
                        .unknownAnnotation, field,
                        "nobody reads \(name)" + (near.map { ": \($0) may be meant" } ?? "")))
            }
        }
        return found
    }

    /// Those of the object and of the pods that it stands for, in their order.
    private var annotations: [(path: String, name: String, value: String)] {
        var all = object.metadata.annotations.map { ("metadata.annotations", $0.key, $0.value) }
        for (name, value) in object.spec["template"]?["metadata"]?["annotations"]?.object ?? [:] {
            all.append(("spec.template.metadata.annotations", name, value.string ?? ""))
        }
        return all.filter { isOurs($0.1) }.sorted { ($0.0, $0.1) < ($1.0, $1.1) }
    }

    private func isOurs(_ name: String) -> Bool {
        let domain = name.prefix { $0 != "/" }
        return name.contains("/") && (domain == "istio.io" || domain.hasSuffix(".istio.io") || domain == "skein.dev")
    }

    private func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(code, kind: object.kind, object: key, field: field, message: message)
    }

    private static func problem(_ text: String, _ value: Value) -> String? {
        let parts = text.split(separator: ",").map { $0.filter { $0 != " " } }
        switch value {
        case .any: return nil
        case .flag: return text == "true" || text == "false" ? nil : "\"\(text)\" is neither \"true\" nor \"false\""
        case .oneOf(let values):
            return values.contains(text) ? nil : "\"\(text)\" is none of \(values.joined(separator: ", "))"
        case .ports:
            if text == "*" { return nil }
            return parts.first { !(Int($0).map { (1...65535).contains($0) } ?? false) }.map { "\"\($0)\" is no port" }
        case .ranges:
            if text == "*" { return nil }
            return parts.first { !Addresses.isAddressOrRange($0) }.map { "\"\($0)\" is no range in CIDR form" }
        }
    }

    /// A name that is written almost so: at most two letters apart, whatever their case.
    static func nearest(_ name: String) -> String? {
        let lower = Array(name.lowercased().utf8)
        return (read.keys.sorted() + without.sorted()).first { distance(lower, Array($0.lowercased().utf8)) <= 2 }
    }

    /// How many letters must be changed, put in or left out.
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        guard abs(a.count - b.count) <= 2, a.count <= 128 else { return .max }
        var row = Array(0...b.count)
        for (i, x) in a.enumerated() {
            var before = row[0]
            row[0] = i + 1
            for (j, y) in b.enumerated() {
                let kept = row[j + 1]
                row[j + 1] = x == y ? before : min(before, row[j], row[j + 1]) + 1
                before = kept
            }
        }
        return row[b.count]
    }
}
