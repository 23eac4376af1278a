import IO
import KubernetesAPI
public import Serialization

/// Who did what through the API: one line of JSON for each write, and for each request that was refused for want of rights.
///
/// The lines are events of `audit.k8s.io/v1` at level Metadata: who, what, when and the answer's status, no bodies. They are
/// kept in memory until `flush`, at most `pendingMax` bytes of them. Loop-owned.
public final class AuditLog {
    /// Bytes that wait for the next flush at most; lines beyond are counted and lost.
    public static let pendingMax = 4 << 20
    /// Bytes of the file after which it is renamed to `….1`, in the place of an older one.
    public static let fileMax = 64 << 20

    private let path: String
    private var pending: [UInt8] = []
    /// Lines that were lost because too many came between two flushes, or because the disk is full.
    public private(set) var lost = 0
    private var pendingLines = 0
    private var written: Int

    /// A log in the file at `path`.
    public init(path: String) {
        self.path = path
        written = File.size(path) ?? 0
    }

    /// Notes one event.
    public func note(_ event: JSON) {
        let line = event.bytes + [0x0a]
        guard pending.count + line.count <= Self.pendingMax else {
            lost += 1
            return
        }
        pending += line
        pendingLines += 1
    }

    /// Writes what waits; call it every second or so, and at the end.
    public func flush() {
        guard !pending.isEmpty else { return }
        if written > Self.fileMax {
            try? File.rename(path, path + ".1")
            written = 0
        }
        do throws(SystemError) {
            try File.append(path, pending, mode: 0o600)
            written += pending.count
        } catch {
            lost += pendingLines
        }
        pending = []
        pendingLines = 0
    }
}

extension APIRouter {
    /// The audit event of an answered request; `nil` for what is not noted: successful reads.
    func auditEvent(_ request: APIRequest, uri: String, source: String, id: String, status: Int) -> JSON? {
        // A session is no read, though WebSocket clients say GET.
        let isRead = (request.method == "GET" || request.method == "HEAD") && status != 101
        guard !isRead || status == 401 || status == 403 else { return nil }
        let now = registry.now().secondsText
        var event: JSON = [
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "stage": "ResponseComplete",
            "auditID": .string(id), "requestURI": .string(uri), "userAgent": .string(request.userAgent),
            "requestReceivedTimestamp": .string(now), "stageTimestamp": .string(now),
            "responseStatus": ["metadata": [:], "code": .integer(Int64(status))],
            "user": [
                "username": .string(request.user?.name ?? ""),
                "groups": .array((request.user?.groups ?? []).map { .string($0) }),
            ],
        ]
        if !source.isEmpty { event["sourceIPs"] = [.string(source)] }
        if let other = request.impersonation {
            event["impersonatedUser"] = [
                "username": .string(other.user), "groups": .array(other.groups.map { .string($0) }),
            ]
        }
        event["verb"] = .string(request.method.lowercased())
        if let target = try? target(of: request) {
            let wish = wish(request, target)
            event["verb"] = .string(wish.verb)
            var reference: JSON = [
                "resource": .string(target.kind.plural),
                "apiVersion": .string(target.version.split(separator: "/").last.map(String.init) ?? ""),
            ]
            for (name, value) in [
                ("apiGroup", target.group), ("namespace", target.namespace ?? ""), ("name", target.name ?? ""),
                ("subresource", target.subresource),
            ] where !value.isEmpty { reference[name] = .string(value) }
            event["objectRef"] = reference
        }
        return event
    }
}
