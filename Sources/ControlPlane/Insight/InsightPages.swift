import HTTP
import IO
import Insight
import Serialization

/// What the built-in time series answer over HTTP.
enum InsightPages {
    /// For `skein stat`, `top`, `edges` and `graph`: below the API, for administrators.
    private static let traffic = "/skein/v1/traffic-view"
    /// The same for `skein query`.
    private static let commands = [
        "/skein/v1/query": "query", "/skein/v1/query_range": "query_range", "/skein/v1/alerts": "alerts",
        "/skein/v1/rules": "rules",
    ]
    /// What `skein plan` learns from.
    private static let plan = "/skein/v1/plan"
    /// For `http_sd_configs` of a Prometheus: every proxy.
    private static let targets = "/prometheus/targets"
    /// Seconds that a view looks back at most.
    private static let windowMax: Int64 = 86_400
    /// Bytes of a form at most.
    private static let formBytesMax = 64 << 10

    /// The pages for our own commands; nil when it is none of them.
    static func command(_ request: HTTPRequest, _ service: InsightService?) async -> HTTPResponse? {
        guard request.path == traffic || request.path == plan || commands[request.path] != nil else { return nil }
        guard request.head.method == .get else { return HTTPResponse(status: 405, text: "GET only\n") }
        guard let service, service.newest != nil else {
            return HTTPResponse(status: 503, text: "no samples yet: the first are there after 10 seconds\n")
        }
        if let path = commands[request.path] { return await service.answer(path, request.queryItems) }
        let text = request.queryItems.first { $0.name == "window" }?.value ?? "60"
        guard let seconds = Int64(text), seconds > 0, seconds <= windowMax else {
            return HTTPResponse(status: 400, text: "window=\(text): seconds from 1 to \(windowMax)\n")
        }
        var json = request.path == plan ? service.plan(seconds: seconds) : service.traffic(seconds: seconds)
        // Each control plane asks the proxies that are connected to it.
        let others = service.others()
        json["servers"] = .integer(Int64(1 + others.count))
        json["unseenProxies"] = .integer(Int64(others.reduce(0, +)))
        return HTTPResponse(status: 200, contentType: "application/json", body: json.bytes)
    }

    /// Prometheus' API and its discovery of targets; nil when it is another path.
    static func prometheus(_ request: HTTPRequest, _ service: InsightService?) async -> HTTPResponse? {
        if request.path == targets, let service {
            return HTTPResponse(status: 200, contentType: "application/json", body: service.discovered.bytes)
        }
        guard request.path.hasPrefix(PrometheusAPI.prefix), let service else { return nil }
        var parameters = request.queryItems
        if request.head.method == .post {
            do throws(HTTPError) {
                let body = try await request.body.collect()
                guard body.count <= formBytesMax else { return HTTPResponse(status: 413, text: "a query that long\n") }
                parameters += form(String(decoding: body, as: UTF8.self))
            } catch {
                return HTTPResponse(status: 400, text: "the form was not read\n")
            }
        } else if request.head.method != .get {
            return HTTPResponse(status: 405, text: "GET and POST\n")
        }
        return await service.answer(String(request.path.dropFirst(PrometheusAPI.prefix.count)), parameters)
    }

    private static func form(_ text: String) -> [(name: String, value: String)] {
        text.split(separator: "&").map { item in
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (PercentEncoding.decoded(parts[0]), parts.count > 1 ? PercentEncoding.decoded(parts[1]) : "")
        }
    }
}

extension InsightService {
    /// The proxies as `http_sd_configs` reads them.
    var discovered: JSON {
        .array(
            targets().map { target in
                [
                    "targets": [.string("\(SocketAddress.ip(target.address, port: Self.metricsPort))")],
                    "labels": [
                        "namespace": .string(target.pod.namespace), "pod": .string(target.pod.name),
                        "workload": .string(target.pod.workload), "node": .string(target.pod.node),
                    ],
                ]
            })
    }

    /// Queries that are worked on at the same time; more are turned away.
    private static let queriesMax = 4

    /// Answers a path of Prometheus' API, on a thread of its own: a long query keeps no proxy waiting.
    func answer(_ path: String, _ parameters: [(name: String, value: String)]) async -> HTTPResponse {
        if path == "alerts" || path == "rules" {
            let json: JSON = ["status": "success", "data": path == "alerts" ? alerts.alerts : alerts.book.rulesJSON]
            return HTTPResponse(status: 200, contentType: "application/json", body: json.bytes)
        }
        guard queries < Self.queriesMax else {
            return HTTPResponse(status: 503, text: "\(Self.queriesMax) queries are worked on already\n")
        }
        queries += 1
        defer { queries -= 1 }
        let api = PrometheusAPI(store, now: Int64(Self.seconds * 1000))
        let body = await Task.detached { api.answer(path, parameters).map { ($0.status, $0.json.bytes) } }.value
        guard let body else {
            return HTTPResponse(
                status: 404,
                text: "see /api/v1/{query,query_range,series,labels,label/NAME/values,metadata,alerts,rules,status/…}\n"
            )
        }
        return HTTPResponse(status: body.0, contentType: "application/json", body: body.1)
    }
}
