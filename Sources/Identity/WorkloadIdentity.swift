/// The name of a workload, as SPIFFE writes it: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
///
/// Source: SPIFFE-ID.md of spiffe/spiffe (section 2), and Istio's `pkg/spiffe`.
public struct WorkloadIdentity: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Whose authority vouches for it: `cluster.local`.
    public let trustDomain: String
    /// The namespace of the service account.
    public let namespace: String
    /// The service account.
    public let serviceAccount: String

    /// The most bytes of an id (SPIFFE-ID.md, section 2.3).
    public static let bytesMax = 2048

    /// A name of these parts; nil when one of them cannot stand in a SPIFFE id.
    public init?(trustDomain: String, namespace: String, serviceAccount: String) {
        guard Self.isTrustDomain(trustDomain), Self.isSegment(namespace), Self.isSegment(serviceAccount) else {
            return nil
        }
        self.trustDomain = trustDomain
        self.namespace = namespace
        self.serviceAccount = serviceAccount
        guard uri.utf8.count <= Self.bytesMax else { return nil }
    }

    /// Reads an id, byte for byte: no other spelling is taken for it (ATK-26).
    public init?(uri: String) {
        guard uri.utf8.count <= Self.bytesMax, uri.hasPrefix("spiffe://") else { return nil }
        let parts = uri.dropFirst("spiffe://".count).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[1] == "ns", parts[3] == "sa" else { return nil }
        self.init(
            trustDomain: String(parts[0]), namespace: String(parts[2]), serviceAccount: String(parts[4]))
    }

    /// `spiffe://cluster.local/ns/default/sa/web`.
    public var uri: String { "spiffe://\(trustDomain)/ns/\(namespace)/sa/\(serviceAccount)" }
    /// The id.
    public var description: String { uri }

    /// By id.
    public static func < (left: WorkloadIdentity, right: WorkloadIdentity) -> Bool { left.uri < right.uri }

    /// Whether a text may be a trust domain: lower-case letters, digits, dots, dashes and underscores.
    public static func isTrustDomain(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 255
            && text.utf8.allSatisfy {
                ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2E || $0 == 0x2D || $0 == 0x5F
            }
    }

    /// Letters, digits, dots, dashes and underscores; not `.` and `..`, which readers of paths would resolve.
    private static func isSegment(_ text: String) -> Bool {
        !text.isEmpty && text != "." && text != ".."
            && text.utf8.allSatisfy {
                ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x41 && $0 <= 0x5A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2E
                    || $0 == 0x2D || $0 == 0x5F
            }
    }
}
