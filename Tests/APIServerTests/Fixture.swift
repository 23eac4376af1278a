import APIServer
import KubernetesAPI
import Serialization
import Store
import Testing

/// A registry and router over an empty store in memory, with a clock that stands still unless told.
final class Fixture {
    var seconds: Int64 = 1_800_000_000
    private(set) var registry: ObjectRegistry
    let router: APIRouter

    init(serviceRanges: ServiceRanges = .standard) throws {
        let store = try SQLiteStore(path: ":memory:")
        final class Clock { weak var owner: Fixture? }
        let clock = Clock()
        registry = ObjectRegistry(store: store, serviceRanges: serviceRanges) {
            Timestamp(seconds: clock.owner?.seconds ?? 0)
        }
        router = APIRouter(registry)
        clock.owner = self
        registry.defaultNodeName = "node"
        try registry.bootstrap()
    }

    struct Answer {
        var status: Int
        var contentType: String
        var warnings: [String]
        var bytes: [UInt8]
        var json: JSON
        var message: String { json["message"]?.string ?? "" }
        var reason: String { json["reason"]?.string ?? "" }
    }

    /// Asks the router; a watch or log is no answer here.
    @discardableResult
    func ask(
        _ method: String, _ target: String, _ body: JSON? = nil, type: String = "application/json", accept: String = "",
        user: APIUser? = .root
    ) throws -> Answer {
        let request = try APIRequest(
            method: method, target: target, accept: accept, contentType: body == nil ? "" : type,
            body: body?.bytes ?? [],
            user: user)
        let response = router.answer(request)
        guard case .bytes(let bytes) = response.body else { throw Unexpected(what: "a stream") }
        return Answer(
            status: response.status, contentType: response.contentType, warnings: response.warnings, bytes: bytes,
            json: (try? JSON.parse(bytes)) ?? .null)
    }

    /// Opens a watch.
    func watch(_ target: String, accept: String = "", user: APIUser = .root) throws -> WatchStream {
        let response = router.answer(try APIRequest(method: "GET", target: target, accept: accept, user: user))
        guard case .watch(let stream) = response.body else {
            guard case .bytes(let bytes) = response.body else { throw Unexpected(what: "no watch") }
            throw Unexpected(what: String(decoding: bytes, as: UTF8.self))
        }
        return stream
    }

    struct Unexpected: Error { var what: String }

    static func deployment(_ name: String = "web", image: String = "x:1") -> JSON {
        [
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": .string(name)],
            "spec": [
                "selector": ["matchLabels": ["app": .string(name)]],
                "template": [
                    "metadata": ["labels": ["app": .string(name)]],
                    "spec": ["containers": [["name": "c", "image": .string(image)]]],
                ],
            ],
        ]
    }

    static func pod(_ name: String, owner: JSON? = nil, labels: JSON = [:]) -> JSON {
        var metadata: JSON = ["name": .string(name), "labels": labels]
        if let owner { metadata["ownerReferences"] = [owner] }
        return ["metadata": metadata, "spec": ["containers": [["name": "c", "image": "x:1"]]]]
    }

    static func service(_ name: String, _ spec: JSON = [:]) -> JSON {
        var spec = spec
        if spec["ports"] == nil { spec["ports"] = [["port": 80]] }
        return ["metadata": ["name": .string(name)], "spec": spec]
    }
}

extension WatchStream {
    /// The events that wait, parsed.
    func events() throws -> [JSON] {
        String(decoding: try #require(next()), as: UTF8.self).split(separator: "\n").map {
            (try? JSON.parse(String($0))) ?? .null
        }
    }
}

let services = "/api/v1/namespaces/default/services"
let pods = "/api/v1/namespaces/default/pods"
let deployments = "/apis/apps/v1/namespaces/default/deployments"
