import APIServer
import IO
import KubernetesAPI
import Mesh
import Registry
import Serialization
import Telemetry

/// Writes what follows from registered programs: ServiceEntries and AuthorizationPolicies with the registry's label.
///
/// What has the label and follows from nothing is removed; objects without it are never touched. Belongs to one loop.
final class RegistryWriter {
    private static let kinds: [ResourceKind] = [.serviceEntry, .authorizationPolicy]

    private let registry: ObjectRegistry
    private let log = Logger("registry")
    /// What was last said of services that are not in the mesh.
    private var unmeshed: [String: String] = [:]
    /// What was last said of objects that could not be written: it is tried every few seconds, and said once.
    private var told: [String: String] = [:]
    /// Hosts of ServiceEntries that are ours.
    private(set) var hosts: Set<String> = []
    /// Writes that failed.
    private(set) var failures = 0

    init(_ registry: ObjectRegistry) { self.registry = registry }

    /// Notes which hosts are ours, for names.
    func learn(_ view: RegistryView) {
        hosts = Set(view.objects.flatMap { ($0.spec["hosts"]?.array ?? []).compactMap(\.string) })
        guard view.unmeshed != unmeshed else { return }
        for (service, why) in view.unmeshed.sorted(by: { $0.key < $1.key }) where unmeshed[service] != why {
            log.info("a registered service is not in the mesh", ["service": service, "reason": why])
        }
        unmeshed = view.unmeshed
    }

    /// Makes the objects as they should be; whether all is written.
    func write(_ view: RegistryView) -> Bool {
        var isComplete = true
        for kind in Self.kinds {
            var wanted: [NamespacedName: OwnedObject] = [:]
            for object in view.objects where object.kind == kind.kind {
                wanted[NamespacedName(namespace: object.namespace, name: object.name)] = object
            }
            for known in registry.list(kind)
            where known.metadata.labels[OwnedObject.label.name] == OwnedObject.label.value {
                let object = wanted.removeValue(forKey: known.key)
                isComplete =
                    attempt(kind, known.key) { () throws(StatusError) in
                        guard let object else {
                            _ = try registry.delete(kind, known.namespace, known.name)
                            return
                        }
                        guard known.json["spec"] != object.spec else { return }
                        _ = try registry.modify(kind, known.namespace, known.name) { (json) throws(StatusError) in
                            var json = json
                            json["spec"] = object.spec
                            return json
                        }
                    } && isComplete
            }
            for (key, object) in wanted.sorted(by: { $0.key < $1.key }) {
                isComplete =
                    attempt(kind, key) { () throws(StatusError) in
                        let label = OwnedObject.label
                        _ = try registry.create(
                            [
                                "apiVersion": .string(kind.apiVersion(kind.preferredVersion)),
                                "kind": .string(kind.kind),
                                "metadata": [
                                    "name": .string(key.name), "labels": .object([label.name: .string(label.value)]),
                                ], "spec": object.spec,
                            ], kind, namespace: key.namespace)
                    } && isComplete
            }
        }
        return isComplete
    }

    private func attempt(_ kind: ResourceKind, _ key: NamespacedName, _ body: () throws(StatusError) -> Void) -> Bool {
        do throws(StatusError) {
            try body()
            told["\(kind.kind) \(key)"] = nil
            return true
        } catch {
            failures += 1
            guard told.updateValue(error.message, forKey: "\(kind.kind) \(key)") != error.message else { return false }
            log.warning(
                "what follows from a registration is not written",
                ["kind": kind.kind, "object": "\(key)", "error": error.message])
            return false
        }
    }
}
