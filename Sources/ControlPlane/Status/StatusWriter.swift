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

    private let source: any ObjectSource
    private let now: () -> Timestamp
    private let log = Logger("status")
    private let kinds: [MeshObjects.Kind: ResourceKind]
    /// How many statuses were written.
    private(set) var writeCount = 0

    init(_ source: any ObjectSource, now: @escaping () -> Timestamp) {
        self.source = source
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
            source.modify(
                kind, status.object, subresource: "status",
                { json in
                    // Somebody changed it since: the change comes by the watch, and its status after that.
                    guard json["metadata"]?["generation"]?.int ?? 0 == generation else { return json }
                    var json = json
                    json["status"] = merged(json["status"])
                    return json
                },
                { [weak self] error in
                    guard let error else {
                        self?.writeCount += 1
                        return
                    }
                    if error.code == 404 { return }  // Gone meanwhile.
                    self?.log.warning(
                        "a status cannot be written",
                        ["kind": kind.kind, "object": "\(status.object)", "error": error.message])
                })
        }
    }
}
