import EnvoyAPI
import HTTP
import IO
import KubernetesAPI
import Serialization
import Store
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

    /// The service of a control plane, which proxies ask on their own streams' socket.
    ///
    /// The streams keep it.
    convenience init(for streams: ProxyStreams) {
        self.init(now: { WallClock.now.seconds })
        streams.rateLimits = self
        streams.otherMethods = methods
        streams.configMapsChanged = { [weak self] in _ = self?.update($0) }
    }

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

    /// Counts together with the other servers of a store from now on.
    func share(in store: EtcdStore) {
        counter.isShared = true
        store.report(.limits) {
            self.counter.report(now: self.clock())
        } changed: {
            self.counter.others.take($0, now: self.clock())
        }
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

    /// What a scraper gets, in Prometheus' text format.
    var metrics: String {
        let counted: [(name: String, help: String, value: Int)] = [
            ("requests_total", "Questions about limits of the whole mesh that were answered.", counter.answered),
            ("over_limit_total", "Answers that refuse.", counter.refused),
            ("uncounted_total", "Descriptors let through uncounted: too many windows are open.", counter.uncounted),
            ("unreadable_total", "Counts of other control planes that could not be read.", counter.others.unreadable),
            ("untold_windows", "Open windows beyond what other control planes are told of.", counter.untold),
        ]
        return counted.map { counter in
            let name = "skein_ratelimit_\(counter.name)"
            let kind = name.hasSuffix("_total") ? "counter" : "gauge"
            return "# HELP \(name) \(counter.help)\n# TYPE \(name) \(kind)\n\(name) \(counter.value)\n"
        }.joined()
    }

    /// The method for a gRPC server.
    var methods: [String: GRPCServer.Method] {
        let method: GRPCServer.Method = { [weak self] call throws(GRPCStatus) in try await self?.serve(call) }
        return [Self.method: method]
    }
}
