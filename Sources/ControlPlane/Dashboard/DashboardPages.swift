import APIServer
import EnvoyAPI
import HTTP
import Insight
import KubernetesAPI
import Mesh
import Serialization

/// The dashboard's own pages for administrators, below `/skein/v1/dashboard/`: `objects`, `network`, `certificates`, `service?host=`,
/// `plan?window=&what-if=`, `history?kind=&namespace=&name=&from=&to=`, and what agents of nodes are asked for (`DashboardQuestions`).
///
/// `@unchecked Sendable`: used on one loop.
final class DashboardPages: @unchecked Sendable {
    private static let prefix = "/skein/v1/dashboard/"
    /// Seconds that the planner learns from at most.
    private static let windowMax: Int64 = 86_400
    /// Changes of a question at most.
    private static let changesMax = 16

    private let source: any ObjectSource
    private let streams: ProxyStreams
    private let insight: InsightService
    /// What `skein certs list` tells.
    var certificates: () -> JSON = { .null }
    /// What the analysis found, and for which revision: it is asked again and again while nothing changes.
    private var analyzed: (revision: Int64, bytes: [UInt8])?
    private var isAnalyzing = false
    /// What agents of nodes tell; without it these pages are not there.
    var questions: DashboardQuestions?
    /// How objects were before.
    var history: HistoryKeeper?

    init(_ source: any ObjectSource, _ streams: ProxyStreams, _ insight: InsightService) {
        self.source = source
        self.streams = streams
        self.insight = insight
    }

    /// The answer; nil when it is another page.
    func answer(_ request: HTTPRequest) async -> HTTPResponse? {
        guard request.path.hasPrefix(Self.prefix) else { return nil }
        let items = request.queryItems
        func first(_ name: String) -> String? { items.first { $0.name == name }?.value }
        switch request.path.dropFirst(Self.prefix.count) {
        case "objects": return await objects()
        case "network": return json(network)
        case "certificates": return json(certificates())
        case "service": return json(service(first("host") ?? ""))
        case "plan": return plan(first("window"), items.filter { $0.name == "what-if" }.map(\.value))
        case "history": return json(history?.json(items) ?? .null)
        case let name:
            if let answer = await questions?.answer(String(name), items) { return answer }
            return HTTPResponse(
                status: 404,
                text: "see \(Self.prefix){objects,network,certificates,service,plan,history,explain,packet,policies,"
                    + "endpoints,access}\n")
        }
    }

    private func json(_ value: JSON) -> HTTPResponse {
        HTTPResponse(status: 200, contentType: "application/json", body: value.bytes)
    }

    private var network: JSON {
        let model = streams.publisher.model
        return DashboardViews.network(
            nodes: source.all(.node), pods: source.all(.pod), services: model.sortedServices,
            endpoints: { model.endpoints(of: $0) })
    }

    // MARK: Objects

    /// The kinds whose objects the analysis looks at; Secrets and ConfigMaps are among them, of which only names are shown.
    private static let kinds: [ResourceKind] = {
        let mesh = MeshObjects.Kind.allCases.compactMap { kind in
            ResourceKinds.standard.all.first { $0.group == kind.group && $0.kind == kind.name }
        }
        return mesh + [.deployment]
    }()

    /// On a thread of its own, one at a time: the analysis of everything may take longer than a proxy should wait.
    private func objects() async -> HTTPResponse {
        let revision = source.revision
        if let analyzed, analyzed.revision == revision {
            return HTTPResponse(status: 200, contentType: "application/json", body: analyzed.bytes)
        }
        guard !isAnalyzing else { return HTTPResponse(status: 503, text: "the analysis runs already; ask again\n") }
        isAnalyzing = true
        defer { isAnalyzing = false }
        var all: [KubernetesObject] = []
        for kind in Self.kinds {
            all += source.all(kind).map { object in
                var object = object
                // What is kept need not say what it is.
                object.json["apiVersion"] = .string(kind.apiVersion)
                object.json["kind"] = .string(kind.kind)
                return object
            }
        }
        let objects = all
        let bytes = await Task.detached {
            let findings = MeshAnalysis(objects).run().findings.map(\.diagnostic)
            let shown = objects.filter { !["EndpointSlice", "Pod", "Node"].contains($0.kind) }
            return DashboardViews.objects(shown, findings).bytes
        }.value
        analyzed = (revision, bytes)
        return HTTPResponse(status: 200, contentType: "application/json", body: bytes)
    }

    // MARK: A service

    private func service(_ host: String) -> JSON {
        let model = streams.publisher.model
        let found = model.sortedServices.first { $0.host == host }
        for proxy in Set(streams.publisher.proxies.map(\.pod)).sorted() {
            let resources = streams.publisher.resources(of: proxy, typeURL: RouteConfiguration.typeURL) ?? []
            let configurations = resources.compactMap { resource -> JSON? in
                do throws(MessageError) {
                    return try resource.unpack(as: RouteConfiguration.self).json(names: .camel)
                } catch {
                    return nil
                }
            }
            let routes = DashboardRoutes.list(configurations, host: host)
            guard !routes.isEmpty else { continue }
            return DashboardViews.service(
                found.map { model.endpoints(of: $0) } ?? [], caller: proxy, routes: routes)
        }
        return DashboardViews.service(found.map { model.endpoints(of: $0) } ?? [], caller: nil, routes: [])
    }

    // MARK: The planner

    private func plan(_ window: String?, _ changes: [String]) -> HTTPResponse {
        guard let seconds = Int64(window ?? "600"), seconds >= 40, seconds <= Self.windowMax,
            changes.count <= Self.changesMax
        else {
            return HTTPResponse(
                status: 400, text: "window= from 40 to \(Self.windowMax) seconds, at most \(Self.changesMax) what-if=\n"
            )
        }
        guard insight.newest != nil else {
            return HTTPResponse(status: 503, text: "no samples yet: the first are there after 10 seconds\n")
        }
        let observed = insight.plan(seconds: seconds)
        return json(
            PlanView.json(
                PlanObservations.read(observed["all"] ?? .null),
                earlier: PlanObservations.read(observed["earlier"] ?? .null),
                later: PlanObservations.read(observed["later"] ?? .null),
                nodes: PlanObservations.readNodes(observed["nodes"] ?? .null), changes: changes))
    }
}
