import EnvoyAPI
import HTTP
import IO
import Serialization
import TLS
import XDS

/// One proxy without a data path: subscribes to what it uses, acknowledges what it gets.
///
/// Belongs to one loop.
final class SimulatedProxy: @unchecked Sendable {
    let number: Int
    private var client: DeltaClient
    private unowned let crowd: Crowd
    private let node: EnvoyAPI.Node
    private let services: [Int]
    private var task: Task<Void, Never>?
    private var stream: SocketStream?

    init(_ number: Int, services: [Int], _ crowd: Crowd) {
        self.number = number
        self.services = services
        self.crowd = crowd
        var node = EnvoyAPI.Node()
        node.id = "sidecar~\(Crowd.address(number))~proxy-\(number).default~default.svc.cluster.local"
        node.userAgentName = "skein-proxy"
        node.clientFeatures = ["skein.on_demand"]
        self.node = node
        client = DeltaClient(node: node)
        subscribe()
    }

    private func subscribe() {
        let clusters = Set(services.map { "outbound|80||service-\($0).default.svc.cluster.local" })
        _ = client.subscribe(Cluster.typeURL, to: .names(clusters))
        _ = client.subscribe(ClusterLoadAssignment.typeURL, to: .names(clusters))
        _ = client.subscribe(Listener.typeURL, to: .all)
        _ = client.subscribe(RouteConfiguration.typeURL, to: .names(["80"]))
        _ = client.subscribe(
            VirtualHost.typeURL, to: .names(Set(services.map { "80/service-\($0).default.svc.cluster.local" })))
    }

    /// How many resources it will have when it has everything: clusters, endpoints, hosts, two listeners, one configuration.
    var wanted: Int { services.count * 3 + 3 }

    /// What it has: `TYPE NAME VERSION` in order.
    var state: [String] {
        [
            Cluster.typeURL, ClusterLoadAssignment.typeURL, Listener.typeURL, RouteConfiguration.typeURL,
            VirtualHost.typeURL,
        ]
        .flatMap { type in client.versions(typeURL: type).map { "\(type) \($0.key) \($0.value)" }.sorted() }
    }

    func start() {
        task = Task(executorPreference: crowd.loop) { await self.run() }
    }

    /// Forgets everything and begins anew.
    func reset() {
        task?.cancel()
        stream?.close()
        client = DeltaClient(node: node)
        subscribe()
    }

    private func run() async {
        while !Task.isCancelled {
            do {
                try await talk()
            } catch {
                crowd.failed("proxy \(number): \(error)")
            }
            client.disconnected()
            await crowd.loop.sleep(for: .milliseconds(Int.random(in: 200...1000)))
        }
    }

    private func talk() async throws {
        let socket = try await SocketStream.connect(to: crowd.options.address, on: crowd.loop, timeout: .seconds(30))
        stream = socket
        let secured = try await TLSStream.connect(socket, crowd.context, serverName: "skein.skein-system.svc")
        let connection = try GRPCClient(secured, authority: "skein", on: crowd.loop, memory: crowd.memory)
        defer { connection.close() }
        let call = try connection.call(DiscoveryMethod.aggregated(isDelta: true))
        for request in client.connected() { try await call.send(request.serialized()) }
        try await call.forEach { (bytes) throws(GRPCStatus) in
            let response: DeltaDiscoveryResponse
            do throws(MessageError) {
                response = try DeltaDiscoveryResponse(serialized: [UInt8](bytes))
            } catch {
                throw GRPCStatus(.internal, "\(error)")
            }
            let (update, requests) = self.client.received(response)
            for request in requests { _ = call.post(request.serialized()) }
            guard let update else { return }
            for request in self.client.accept(update) { _ = call.post(request.serialized()) }
            self.crowd.got(update, self.number)
        }
    }
}
