import EnvoyAPI
import Serialization

/// A virtual host with its bytes: encoded once, in however many route configurations and versions of them it stands.
final class EncodedHost: Sendable {
    /// What it claims.
    let domains: [String]
    /// The `VirtualHost`.
    let bytes: [UInt8]
    /// Stands for the bytes in the version of a route configuration.
    let hash: String

    init(_ host: VirtualHost) {
        domains = host.domains
        bytes = host.serialized()
        hash = ContentHash.text(bytes)
    }

    /// The same with these domains only; itself, when these are all.
    func keeping(_ kept: [String]) -> EncodedHost {
        if kept.count == domains.count { return self }
        // What was encoded here can be decoded.
        var host = (try? VirtualHost(serialized: bytes)) ?? VirtualHost()
        host.domains = kept
        return EncodedHost(host)
    }
}

/// The outbound side of a kind of callers but for the virtual hosts of services.
///
/// Those are kept apart: an edit of one rule makes one of them anew, and what is here as long as services and hosts of rules
/// are what they were.
struct OutboundPlan: Sendable {
    /// A route configuration without the virtual hosts of its services.
    struct Routes: Sendable {
        var name: String
        var port: Int
        /// The virtual hosts of services, in order.
        var hosts: [Host]
        /// What stands behind them: hosts that are no services, and everything else.
        var others: [EncodedHost]
    }

    /// A virtual host of a service.
    struct Host: Hashable, Sendable {
        var service: MeshService.ID
        var port: Int
        var form: OutboundRoutes.Form
    }

    /// Clusters, listeners, and route configurations of their own.
    var fixed = MeshResources()
    var routes: [Routes] = []

    init(caller: Caller, model: MeshModel) {
        let outbound = Self.outbound(caller, model)
        fixed.add(Clusters.passthrough(name: ClusterNames.passthrough, config: model.config, bindsLocally: false))
        fixed.add(Clusters.blackHole)
        fixed.add(OutboundListener(outbound: outbound).listener())
        BoundListeners(outbound: outbound).add(to: &fixed)
        UpstreamCredentials.resources(caller, model).forEach { fixed.add($0) }
        for (port, members) in outbound.ports
        where outbound.httpPorts.contains(port) || members.contains(where: { $0.port.portProtocol.mayBeHTTP }) {
            let configuration = OutboundRoutes(outbound: outbound, port: port)
            routes.append(
                Routes(
                    name: String(port), port: port,
                    hosts: configuration.members.map { Host(service: $0.service.id, port: port, form: .shared) },
                    others: configuration.others.map(EncodedHost.init)))
            for member in outbound.addressed(port) {
                routes.append(
                    Routes(
                        name: AddressedServices.routesName(host: member.service.host, port: port), port: port,
                        hosts: [Host(service: member.service.id, port: port, form: .own)], others: []))
            }
        }
    }

    static func outbound(_ caller: Caller, _ model: MeshModel) -> Outbound {
        let sidecar = caller.sidecar.flatMap { key in model.sidecars.first { $0.key == key } }
        return Outbound(model: model, namespace: caller.namespace, labels: caller.labels, sidecar: sidecar)
    }
}

extension MeshResource {
    /// A route configuration put together from encoded virtual hosts.
    init(routes name: String, hosts: [EncodedHost]) {
        var (front, back) = (RouteConfiguration(), RouteConfiguration())
        front.name = name
        back.validateClusters = false
        back.maxDirectResponseBodySizeBytes = UInt32(Actions.bodyBytesMax)
        var bytes = front.serialized()
        let end = back.serialized()
        bytes.reserveCapacity(hosts.reduce(bytes.count + end.count) { $0 + $1.bytes.count + 4 })
        var hashes = bytes
        for host in hosts {
            bytes.append(2 << 3 | 2)  // virtual_hosts
            var length = host.bytes.count
            while length >= 0x80 {
                bytes.append(UInt8(truncatingIfNeeded: length) | 0x80)
                length >>= 7
            }
            bytes.append(UInt8(truncatingIfNeeded: length))
            bytes += host.bytes
            hashes += host.hash.utf8
        }
        bytes += end
        self.init(
            name: name, version: ContentHash.text(hashes),
            message: AnyMessage(typeURL: RouteConfiguration.typeURL, value: bytes))
    }
}
