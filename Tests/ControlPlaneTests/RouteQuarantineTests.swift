import EnvoyAPI
import IO
import KubernetesAPI
import Mesh
import Serialization
import Testing
import XDS

@testable import ControlPlane

@Suite("Refused virtual hosts")
struct RouteQuarantineTests {
    private let start = MonotonicTime(nanoseconds: 1)
    private static let names = ["a", "b", "c", "d", "e"]

    private func rule(_ name: String, _ path: String) throws -> KubernetesObject {
        let text = """
            apiVersion: networking.istio.io/v1
            kind: VirtualService
            metadata: {name: \(name), namespace: default}
            spec: {hosts: [\(name)], http: [{match: [{uri: {prefix: \(path)}}], route: [{destination: {host: \(name)}}]}]}
            """
        return KubernetesObject(json: try #require(try YAML.parse(text, file: "test").first).json)
    }

    /// A proxy that refuses routes to certain paths, as Envoy does: the whole route configuration, perhaps without saying why.
    private final class Proxy {
        var publisher = SnapshotPublisher()
        var bad: Set<String> = []
        var saysWho = false
        private(set) var hosts: [String: [String]] = [:]
        private(set) var refusals = 0
        private let stream: Int

        init(_ objects: [KubernetesObject], now: MonotonicTime) throws {
            for object in objects { publisher.set(object, now: now) }
            stream = publisher.open(
                ProxyIdentity(pod: NamespacedName(namespace: "default", name: "caller"), role: .sidecar))
            var request = DeltaDiscoveryRequest()
            request.typeUrl = RouteConfiguration.typeURL
            request.resourceNamesSubscribe = ["80"]
            var node = EnvoyAPI.Node()
            node.userAgentName = "envoy"
            request.node = node
            try say(request)
        }

        private func say(_ request: DeltaDiscoveryRequest) throws {
            try take(try publisher.received(.delta(request), on: stream))
        }

        func take(_ messages: [DiscoveryMessage]) throws {
            for message in messages {
                let response = try DeltaDiscoveryResponse(serialized: message.bytes)
                var answer = DeltaDiscoveryRequest()
                answer.typeUrl = response.typeUrl
                answer.responseNonce = response.nonce
                for case let resource? in response.resources.map(\.resource) {
                    let routes = try resource.unpack(as: RouteConfiguration.self)
                    let paths = routes.virtualHosts.map { host in
                        (
                            host.name,
                            host.routes.compactMap { route -> String? in
                                switch route.match?.pathSpecifier {
                                case .prefix(let path)?, .pathSeparatedPrefix(let path)?: path
                                default: nil
                                }
                            }
                        )
                    }
                    if let index = paths.firstIndex(where: { !bad.isDisjoint(with: $0.1) }) {
                        refusals += 1
                        var error = Status()
                        error.code = 3
                        error.message = saysWho ? "virtual_hosts[\(index)].routes[0]: no" : "no"
                        answer.errorDetail = error
                    } else {
                        hosts = Dictionary(paths, uniquingKeysWith: { first, _ in first })
                    }
                }
                try say(answer)
            }
        }

        func set(_ objects: [KubernetesObject], now: MonotonicTime) throws {
            for object in objects { publisher.set(object, now: now) }
            for (_, messages) in publisher.flush() { try take(messages) }
        }

        func paths(_ name: String) -> Set<String>? { hosts["\(name).default.svc.cluster.local:80"].map(Set.init) }
        var refused: [SnapshotPublisher.Refusal] { publisher.convergence(revision: 0).refusals }
    }

    private func world() throws -> [KubernetesObject] {
        try Self.names.enumerated().flatMap { number, name -> [KubernetesObject] in
            let service = """
                apiVersion: v1
                kind: Service
                metadata: {name: \(name), namespace: default}
                spec: {clusterIP: 10.96.1.\(number + 1), selector: {app: \(name)}, ports: [{name: http, port: 80}]}
                """
            return [
                KubernetesObject(json: try #require(try YAML.parse(service, file: "test").first).json),
                try rule(name, "/one"),
            ]
        }
    }

    @Test(
        "ATK-36 of one batch of changes the refused host stays as it was, the others arrive, and the refusal names its object",
        arguments: [true, false])
    func isolated(saysWho: Bool) throws {
        let proxy = try Proxy(try world(), now: start)
        #expect(proxy.paths("c") == ["/one"] && proxy.refused.isEmpty)
        proxy.bad = ["/bad"]
        proxy.saysWho = saysWho
        try proxy.set(try Self.names.map { try rule($0, $0 == "c" ? "/bad" : "/two") }, now: start)
        for name in Self.names { #expect(proxy.paths(name) == [name == "c" ? "/one" : "/two"], "\(name)") }
        #expect(proxy.refusals <= 8, "found by halves")
        let refusal = try #require(proxy.refused.first)
        #expect(proxy.refused.count == 1 && refusal.resource == "80")
        #expect(Set(refusal.sources.map(\.object.name)) == ["c"])
        #expect(proxy.publisher.states.first?.types[RouteConfiguration.typeURL] == "REJECTED")
        // What comes later goes its way; the refused one is not tried again as it is.
        let before = proxy.refusals
        try proxy.set([try rule("a", "/three")], now: start)
        #expect(proxy.paths("a") == ["/three"] && proxy.paths("c") == ["/one"] && proxy.refusals == before)
        #expect(proxy.refused.count == 1)
        // Mended it is taken, and nothing is refused any more.
        try proxy.set([try rule("c", "/good")], now: start)
        #expect(proxy.paths("c") == ["/good"] && proxy.refused.isEmpty && proxy.refusals == before)
        #expect(proxy.publisher.states.first?.types[RouteConfiguration.typeURL] == "SYNCED")
    }

    @Test("ATK-36 two refused hosts of one batch are both found, also when the proxy has had none of them")
    func two() throws {
        var objects = try world()
        let last = objects.count
        objects += try ["x", "y", "z"].map { name in
            let service = """
                apiVersion: v1
                kind: Service
                metadata: {name: \(name), namespace: default}
                spec: {clusterIP: 10.96.2.\(name == "x" ? 1 : name == "y" ? 2 : 3), selector: {app: \(name)}, ports: [{name: http, port: 80}]}
                """
            return KubernetesObject(json: try #require(try YAML.parse(service, file: "test").first).json)
        }
        let proxy = try Proxy(Array(objects[..<last]), now: start)
        proxy.bad = ["/bad"]
        try proxy.set(
            Array(objects[last...]) + [try rule("x", "/bad"), try rule("y", "/two"), try rule("b", "/bad")], now: start)
        #expect(proxy.paths("x") == nil && proxy.paths("b") == ["/one"] && proxy.paths("y") == ["/two"])
        #expect(proxy.paths("z") != nil && proxy.paths("a") == ["/one"])
        #expect(Set(proxy.refused.flatMap(\.sources).map(\.object.name)) == ["b", "x"])
    }

    @Test("A proxy that comes again with routes of its own keeps them whole: what it has of each host is not known")
    func reconnected() throws {
        var publisher = SnapshotPublisher()
        for object in try world() { publisher.set(object, now: start) }
        let stream = publisher.open(
            ProxyIdentity(pod: NamespacedName(namespace: "default", name: "caller"), role: .sidecar), .stateOfTheWorld)
        var request = DiscoveryRequest()
        request.typeUrl = RouteConfiguration.typeURL
        request.resourceNames = ["80"]
        request.versionInfo = "7"
        request.node = EnvoyAPI.Node()
        let first = try #require(try publisher.received(.stateOfTheWorld(request), on: stream).first)
        request.responseNonce = first.nonce
        var error = Status()
        error.message = "virtual_hosts[0]: no"
        request.errorDetail = error
        #expect(try publisher.received(.stateOfTheWorld(request), on: stream).isEmpty)
        #expect(publisher.convergence(revision: 0).refusals.count == 1)
    }
}
