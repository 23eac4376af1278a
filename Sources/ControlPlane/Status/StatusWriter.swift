import APIServer
import KubernetesAPI
import Mesh
import Serialization
import Telemetry

/// Writes the statuses that follow from the mesh's model, those that differ from what is there (I-16).
///
/// A status is no input of the model, so that writing one makes nothing new. Loop-owned.
final class StatusWriter {
    /// With more objects of Istio's kinds than that, only those that changed are looked at again.
    static let istioObjectsMax = 500

    private let registry: ObjectRegistry
    private let now: () -> Timestamp
    private let log = Logger("status")
    private let kinds: [MeshObjects.Kind: ResourceKind]
    /// How many statuses were written.
    private(set) var writeCount = 0

    init(_ registry: ObjectRegistry, now: @escaping () -> Timestamp) {
        self.registry = registry
        self.now = now
        kinds = Dictionary(
            MeshObjects.Kind.allCases.compactMap { kind in
                ResourceKind.standard.first { $0.group == kind.group && $0.kind == kind.name }.map { (kind, $0) }
            }, uniquingKeysWith: { first, _ in first })
    }

    /// Writes what differs; `object` gives the objects that the model was made of.
    func write(_ statuses: [ComputedStatus], object: (ResourceKind, NamespacedName) -> KubernetesObject?) {
        let time = now().secondsText
        for status in statuses {
            guard let kind = kinds[status.kind], let known = object(kind, status.object) else { continue }
            let generation = known.metadata.generation
            func merged(_ old: JSON?) -> JSON {
                StatusMerge.merged(
                    status.status, into: old, generation: generation, now: time, controller: Mesh.gatewayController,
                    keepsOthers: kind.group.hasSuffix("istio.io"))
            }
            if merged(known.json["status"]) == known.json["status"] { continue }
            do throws(StatusError) {
                _ = try registry.modify(kind, status.object.namespace, status.object.name, subresource: "status") {
                    (json) throws(StatusError) in
                    // Somebody changed it since: the change comes by the watch, and its status after that.
                    guard json["metadata"]?["generation"]?.int ?? 0 == generation else { return json }
                    var json = json
                    json["status"] = merged(json["status"])
                    return json
                }
                writeCount += 1
            } catch  where error.code == 404 {
                // Gone meanwhile.
            } catch {
                log.warning(
                    "a status cannot be written",
                    ["kind": kind.kind, "object": "\(status.object)", "error": error.message])
            }
        }
    }
}
