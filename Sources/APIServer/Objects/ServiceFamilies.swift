import IO
import KubernetesAPI

/// The families of a service's addresses, worked out of what is written and what it had (N-16).
///
/// Pure.
struct ServiceFamilies: Equatable {
    /// `IPv4`, `IPv6`, the primary one first.
    var families: [String]
    /// `SingleStack`, `PreferDualStack` or `RequireDualStack`.
    var policy: String
    /// Whether it has no address (`clusterIP: None`).
    var isHeadless: Bool
    /// Addresses that are asked for or held, in the order of the families.
    var addresses: [IPAddress]

    /// What is wanted; what cannot be is refused with Kubernetes' words.
    ///
    /// - Parameters:
    ///   - before: the service as it was; nil: it is new.
    ///   - configured: the families of this cluster's services.
    init(_ spec: ServiceSpec, before: ServiceSpec?, configured: [String], _ name: String) throws(StatusError) {
        var problems: [FieldProblem] = []
        var texts = spec.clusterIPs
        if !spec.clusterIP.isEmpty, texts.first != spec.clusterIP {
            if !texts.isEmpty, texts != before?.clusterIPs {
                problems.append(.invalid("spec.clusterIPs", Self.list(texts), "first value must match `clusterIP`"))
            }
            texts = [spec.clusterIP]
        }
        let had = before.map { $0.clusterIPs.isEmpty ? [$0.clusterIP].filter { !$0.isEmpty } : $0.clusterIPs } ?? []
        if texts.isEmpty { texts = had }
        var families = spec.ipFamilies.isEmpty ? before?.ipFamilies ?? [] : spec.ipFamilies
        isHeadless = texts.first == "None"
        policy =
            spec.ipFamilyPolicy ?? before?.ipFamilyPolicy
            ?? (isHeadless && spec.selector.isEmpty && configured.count > 1 ? "RequireDualStack" : "SingleStack")
        if policy == "SingleStack", let old = before?.ipFamilyPolicy, old != policy, families == before?.ipFamilies,
            texts == had
        {
            // The second one goes without being taken out of every list by hand.
            families = Array(families.prefix(1))
            texts = Array(texts.prefix(1))
        }
        addresses = []
        for (index, text) in (isHeadless ? [] : texts).enumerated() {
            guard let address = IPAddress(text) else {
                problems.append(.invalid("spec.clusterIPs[\(index)]", "\"\(text)\"", "must be a valid IP address"))
                continue
            }
            addresses.append(address)
            let family = ServiceRanges.family(address)
            if index >= families.count {
                families.append(family)
            } else if families[index] != family {
                problems.append(
                    .invalid(
                        "spec.clusterIPs[\(index)]", "\"\(text)\"",
                        "expected an \(families[index]) value as indicated by `ipFamilies[\(index)]`"))
            }
        }
        if families.isEmpty { families = Array(configured.prefix(1)) }
        for (path, count) in [("spec.clusterIPs", texts.count), ("spec.ipFamilies", families.count)] where count > 2 {
            problems.append(
                .invalid(path, Self.list(path == "spec.clusterIPs" ? texts : families), "may only hold up to 2 values"))
        }
        for (index, family) in families.enumerated() {
            let path = "spec.ipFamilies[\(index)]"
            if families.firstIndex(of: family) != index {
                problems.append(.duplicate(path, "\"\(family)\""))
            } else if !configured.contains(family) {
                problems.append(.invalid(path, "\"\(family)\"", "not configured on this cluster"))
            }
        }
        if policy == "RequireDualStack", configured.count < 2 {
            problems.append(
                .invalid(
                    "spec.ipFamilyPolicy", "\"RequireDualStack\"",
                    "this cluster is not configured for dual-stack services"))
        }
        if policy == "SingleStack", families.count > 1 {
            problems.append(
                .invalid(
                    "spec.ipFamilyPolicy", "\"SingleStack\"",
                    "must be RequireDualStack or PreferDualStack when multiple `ipFamilies` are specified"))
        }
        if let first = before?.ipFamilies.first, first != families.first {
            problems.append(
                .invalid("spec.ipFamilies[0]", "\"\(families.first ?? "")\"", "primary ipFamily can not be changed"))
        }
        guard problems.isEmpty else { throw .invalid(.service, name, problems) }
        if policy != "SingleStack", families.count == 1 { families += configured.filter { $0 != families.first } }
        self.families = Array(families.prefix(2))
    }

    private static func list(_ texts: [String]) -> String {
        "[" + texts.map { "\"\($0)\"" }.joined(separator: ",") + "]"
    }
}
