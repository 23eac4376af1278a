import KubernetesAPI
import Serialization

/// What the pods of an object ask for that a pod beside a proxy cannot have.
struct PodTemplateAnalysis {
    let key: NamespacedName
    let object: KubernetesObject

    /// The proxy's user: what it sends is not captured.
    private static let proxyUser = 1337

    /// Where the kinds that stand for pods have the description of one.
    private static let places: [String: [String]] = [
        "/Pod": ["spec"], "apps/Deployment": ["spec", "template", "spec"],
        "apps/ReplicaSet": ["spec", "template", "spec"],
        "apps/StatefulSet": ["spec", "template", "spec"], "apps/DaemonSet": ["spec", "template", "spec"],
        "batch/Job": ["spec", "template", "spec"],
        "batch/CronJob": ["spec", "jobTemplate", "spec", "template", "spec"],
    ]

    func diagnostics() -> [Diagnostic] {
        guard let place = Self.places["\(object.group)/\(object.kind)"] else { return [] }
        let spec = place.reduce(object.json as JSON?) { $0?[$1] }
        guard let spec, spec["hostNetwork"]?.bool != true else { return [] }
        let path = place.joined(separator: ".")
        var found: [Diagnostic] = []
        func note(_ code: DiagnosticCode, _ field: String, _ message: String) {
            found.append(Diagnostic(code, kind: object.kind, object: key, field: field, message: message))
        }
        let isForAll = spec["securityContext"]?["runAsUser"]?.int == Self.proxyUser
        var isTold = false
        for member in ["initContainers", "containers"] {
            for (index, container) in (spec[member]?.array ?? []).enumerated() {
                let field = "\(path).\(member)[\(index)]"
                if container["image"]?.string == "auto" {
                    note(
                        .imageOfInjector, "\(field).image",
                        "no injector replaces \"auto\" here: an image of that name is looked for, and the pod does not start"
                    )
                }
                // What is the proxy itself, or sets up its network, may be that user.
                if container["name"]?.string == "istio-proxy" || container["name"]?.string == "istio-init" { continue }
                let own = container["securityContext"]?["runAsUser"]
                if own?.int == Self.proxyUser {
                    note(.userOfProxy, "\(field).securityContext.runAsUser", Self.message)
                } else if isForAll, own == nil, !isTold {
                    isTold = true
                    note(.userOfProxy, "\(path).securityContext.runAsUser", Self.message)
                }
            }
        }
        return found
    }

    private static let message = "1337 is the proxy's user, whose traffic is not captured: such a pod does not start"
}

/// What the labels of a namespace say of sidecars.
struct NamespaceAnalysis {
    let key: NamespacedName
    let object: KubernetesObject

    func diagnostics() -> [Diagnostic] {
        let labels = object.metadata.labels
        guard let injection = labels["istio-injection"], let revision = labels["istio.io/rev"] else { return [] }
        return [
            Diagnostic(
                .namespaceLabels, kind: "Namespace", object: key, field: "metadata.labels[istio.io/rev]",
                message: "has no effect beside istio-injection: \(injection)"
                    + (injection == "disabled" ? ": pods get no sidecar, of revision \(revision) or any" : ""))
        ]
    }
}

/// What an object's status says against it.
///
/// Conditions of this mesh's own controller are left out: their reasons are findings of their own.
struct StatusAnalysis {
    let key: NamespacedName
    let object: KubernetesObject

    /// Types whose `False` means that the object, or a part of it, is not in force.
    private static let types: Set<String> = [
        "Accepted", "Programmed", "ResolvedRefs", "Reconciled", "WaypointAccepted", "ZtunnelAccepted", "WaypointBound",
    ]

    func diagnostics() -> [Diagnostic] {
        let status = object.json["status"]
        var found = conditions(status?["conditions"], "status.conditions")
        for (index, parent) in (status?["parents"]?.array ?? []).enumerated()
        where parent["controllerName"]?.string != Mesh.gatewayController {
            found += conditions(parent["conditions"], "status.parents[\(index)].conditions")
        }
        return found
    }

    private func conditions(_ list: JSON?, _ path: String) -> [Diagnostic] {
        (list?.array ?? []).enumerated().compactMap { index, condition in
            let type = condition["type"]?.string ?? ""
            let name = type.split(separator: "/").last.map(String.init) ?? type
            let isKnown = Self.types.contains(name) && (name == type || type.hasPrefix("istio.io/"))
            let reason = condition["reason"]?.string ?? ""
            guard isKnown, condition["status"] == "False" || reason == "PartiallyInvalid" else { return nil }
            let message = condition["message"]?.string ?? ""
            return Diagnostic(
                .statusRefused, kind: object.kind, object: key, field: "\(path)[\(index)]",
                message: "\(type) is \(condition["status"]?.string ?? "not said"), \(reason)"
                    + (message.isEmpty ? "" : ": \(message.prefix(Self.messageMax))"))
        }
    }

    /// Of a condition's message so many characters are told.
    static let messageMax = 300
}
