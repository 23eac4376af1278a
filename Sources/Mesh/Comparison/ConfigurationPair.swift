import EnvoyAPI
public import KubernetesAPI
import Serialization

/// The mesh as it is, and as it would be with other objects over it: what each proxy is told before and after.
public struct ConfigurationPair: Sendable {
    private var old: MeshTranslator
    private var new: MeshTranslator

    /// - Parameters:
    ///   - objects: The live ones.
    ///   - changed: Objects that replace live ones of the same name, or come to them. What the API server keeps of an object (age, identity) stays.
    public init(_ objects: [KubernetesObject], changed: [KubernetesObject]) {
        old = MeshTranslator(MeshModel(MeshObjects(objects)))
        new = old
        for object in changed {
            let live = objects.first {
                $0.kind == object.kind && $0.group == object.group && $0.name == object.name
                    && $0.namespace == object.namespace
            }
            new.set(object.applied(over: live))
        }
        new.refresh()
    }

    /// What a proxy is told before and after, each as a `DiscoveryResponse` in binary form; nil when that is the same.
    public mutating func resources(
        of proxy: ProxyIdentity
    ) -> (old: [UInt8], new: [UInt8])? {
        let (before, after) = (old.snapshot(for: proxy), new.snapshot(for: proxy))
        guard before != after else { return nil }
        return (Self.response(before), Self.response(after))
    }

    private static func response(_ snapshot: ProxySnapshot) -> [UInt8] {
        var response = DiscoveryResponse()
        for part in [snapshot.clusters, snapshot.endpoints, snapshot.routes, snapshot.listeners] {
            response.resources += part.sorted { $0.key < $1.key }.map(\.value.message)
        }
        return response.serialized()
    }
}

extension KubernetesObject {
    /// The object as the store would have it after it was applied over a live one; nil: there is none.
    public func applied(over live: KubernetesObject?) -> KubernetesObject {
        var object = self
        let kept = live?.metadata.json
        for member in ["uid", "creationTimestamp", "generation"] {
            if let value = kept?[member] { object.json["metadata"]?[member] = value }
        }
        // Who comes now is younger than all others (H-6).
        if kept == nil, object.json["metadata"]?["creationTimestamp"] == nil {
            object.json["metadata"]?["creationTimestamp"] = "9999-12-31T23:59:59Z"
        }
        if object.json["status"] == nil, let status = live?.json["status"] { object.json["status"] = status }
        return object
    }
}
