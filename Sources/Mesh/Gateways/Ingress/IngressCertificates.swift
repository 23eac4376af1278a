import EnvoyAPI
import KubernetesAPI
import Serialization

/// Certificates of Ingresses.
struct IngressCertificates {
    /// One entry of `spec.tls` that can be served.
    struct Entry {
        /// The server names; `*` for an entry without hosts.
        var hosts: [String]
        var tls: DownstreamTLS
        var place: Provenance
    }

    /// The entries of all Ingresses whose Secret can be used, oldest Ingress first; a host belongs to the first.
    static func entries(_ model: MeshModel) -> [Entry] {
        var found: [Entry] = []
        for object in model.servedIngresses {
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            for (index, entry) in Ingress(json: object.json).spec.tls.enumerated() {
                let secret = NamespacedName(namespace: key.namespace, name: entry.secretName)
                guard let held = model.objects.object(.secret, secret),
                    GatewaySecrets.problem(certificateIn: held) == nil
                else { continue }
                var tls = DownstreamTLS(certificates: [GatewaySecrets.certificateName(secret)])
                tls.applicationProtocols = DownstreamTLS.httpProtocols
                found.append(
                    Entry(
                        hosts: entry.hosts.isEmpty ? ["*"] : entry.hosts.map { $0.lowercased() }, tls: tls,
                        place: Provenance(kind: "Ingress", object: key, field: "spec.tls[\(index)]")))
            }
        }
        return found
    }
}

/// Which Ingresses are ours (I-3).
struct IngressClasses {
    /// The controller that our classes name.
    static let controller = "skein.dev/ingress-controller"

    private let classes: [String: Bool]
    private let isDefault: Bool

    init(_ objects: MeshObjects) {
        var classes: [String: Bool] = [:]
        var defaults: [Bool] = []
        for object in objects.inOrder(.ingressClass) {
            let isOurs = object.spec["controller"]?.string == Self.controller
            classes[object.name] = isOurs
            if object.metadata.annotations["ingressclass.kubernetes.io/is-default-class"] == "true" {
                defaults.append(isOurs)
            }
        }
        self.classes = classes
        // Without any class nobody else is there to act.
        isDefault = classes.isEmpty || defaults.contains(true)
    }

    /// Whether there is such a class.
    func knows(_ name: String) -> Bool { classes[name] != nil || Mesh.ingressClasses.contains(name) }

    /// Whether an Ingress is ours: `ingressClassName` beats the annotation; with neither the default class acts.
    func serves(_ object: KubernetesObject) -> Bool {
        let named =
            object.spec["ingressClassName"]?.string ?? object.metadata.annotations["kubernetes.io/ingress.class"]
        guard let named else { return isDefault }
        return classes[named] ?? Mesh.ingressClasses.contains(named)
    }
}

extension MeshModel {
    /// The Ingresses that we serve, oldest first.
    var servedIngresses: [KubernetesObject] {
        let classes = IngressClasses(objects)
        return objects.inOrder(.ingress).filter(classes.serves)
    }
}
