public import KubernetesAPI
public import Mesh
import XDS

extension SnapshotPublisher {
    /// What a change of objects would have the control plane send to one proxy: C_ij messages of D_ij bytes.
    public struct Forecast: Sendable, Hashable {
        /// The proxy's pod.
        public var pod: NamespacedName
        /// What it would be sent, by the type of the resources.
        public var types: [String: StreamTraffic]
        /// Whether it has acknowledged what it was sent before; if not, it may be sent less now and the rest afterwards.
        public var isSettled: Bool

        /// All of it together.
        public var sum: StreamTraffic {
            var sum = StreamTraffic()
            for traffic in types.values { sum.add(traffic) }
            return sum
        }
    }

    /// What each connected proxy would be sent at once if these objects were applied together, or replaced those of their names.
    ///
    /// Made by the code that sends, on copies: nothing is sent, and nothing is different afterwards. Proxies that are sent nothing are left out. What a proxy
    /// asks for in consequence (endpoints of a cluster that is new to it) is not in it.
    public func forecast(_ objects: [KubernetesObject]) -> [Forecast] {
        var copy = self
        for object in objects where copy.translator.set(object.meshProjection) { copy.isStale = true }
        guard copy.isStale else { return [] }
        copy.refresh()
        var found: [Forecast] = []
        for stream in order {
            guard let old = stream.base else { continue }
            let base = copy.tables.snapshot(
                copy.translator.snapshot(for: stream.proxy), generation: copy.generation, previous: old)
            var snapshot = copy.adapted(base, to: stream)
            if let secrets = stream.secrets, !snapshot.parts.contains(where: { $0 === secrets }) {
                snapshot.parts.append(secrets)
            }
            var (quarantine, server) = (stream.quarantine, stream.server)
            snapshot = quarantine.applied(to: snapshot)
            let messages = server.publish(
                snapshot, generation: copy.generation, &copy.changes, &copy.maker)
            guard !messages.isEmpty else { continue }
            var types: [String: StreamTraffic] = [:]
            for message in messages { types[message.typeURL, default: StreamTraffic()].sent([message]) }
            found.append(Forecast(pod: stream.proxy.pod, types: types, isSettled: stream.server.isSettled))
        }
        return found
    }
}
