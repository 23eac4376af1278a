import EnvoyAPI
import HTTP
import IO
import KubernetesAPI
import Serialization
import Telemetry

/// The service that proxies ask for limits of the whole mesh (`envoy.service.ratelimit.v3`).
///
/// The rules are in ConfigMaps with the label `skein.dev/ratelimit: "true"`, each member a file in the form of the
/// reference service. A file that cannot be read leaves the last good one of that member in force.
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class RateLimitService: @unchecked Sendable {
    static let method = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
    /// The label of ConfigMaps with rules.
    static let label = "skein.dev/ratelimit"

    private(set) var counter = RateLimitCounter()
    /// The rules of each member, by `namespace/name/member`.
    private var files: [String: RateLimitRules] = [:]
    private let clock: () -> Int64
    private let log = Logger("ratelimit")

    init(now: @escaping () -> Int64) { clock = now }

    /// Takes the ConfigMaps as they are now; tells what is wrong, by the path of the member.
    @discardableResult
    func update(_ configMaps: [KubernetesObject]) -> [(path: String, problem: String)] {
        var present: Set<String> = []
        var problems: [(path: String, problem: String)] = []
        for object in configMaps where object.metadata.labels[Self.label] == "true" {
            for (member, content) in (object.json["data"]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
                let path = "\(object.namespace)/\(object.name)/\(member)"
                present.insert(path)
                do {
                    let json = try YAML.parse(content.string ?? "", file: member).first?.json ?? .null
                    files[path] = try RateLimitRules(json)
                } catch {
                    problems.append((path, "\(error)"))
                    log.error(
                        "rate limits cannot be read; the last good ones stay", ["file": path, "error": "\(error)"])
                }
            }
        }
        files = files.filter { present.contains($0.key) }
        var rules: [String: RateLimitRules] = [:]
        for (path, file) in files.sorted(by: { $0.key < $1.key }) {
            if rules[file.domain] == nil {
                rules[file.domain] = file
            } else {
                problems.append((path, "domain \(file.domain) is in another file too; that one counts"))
            }
        }
        counter.rules = rules
        return problems
    }

    /// Serves one question.
    func serve(_ call: GRPCStream) async throws(GRPCStatus) {
        guard let bytes = try await call.next() else {
            throw GRPCStatus(.invalidArgument, "a request is needed")
        }
        let request: RateLimitRequest
        do throws(MessageError) { request = try RateLimitRequest(serialized: bytes) } catch {
            throw GRPCStatus(.invalidArgument, "\(error)")
        }
        guard let response = counter.answer(request, now: clock()) else {
            throw GRPCStatus(
                .invalidArgument, "a domain and 1 to \(RateLimitCounter.descriptorsMax) descriptors are needed")
        }
        try await call.send(response.serialized())
    }

    /// The method for a gRPC server.
    var methods: [String: GRPCServer.Method] {
        let method: GRPCServer.Method = { [weak self] call throws(GRPCStatus) in try await self?.serve(call) }
        return [Self.method: method]
    }
}
