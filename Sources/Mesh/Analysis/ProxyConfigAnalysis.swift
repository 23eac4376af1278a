import KubernetesAPI
import Serialization

/// What a ProxyConfig says that does not take effect.
struct ProxyConfigAnalysis {
    let model: MeshModel
    let key: NamespacedName
    let object: KubernetesObject

    func diagnostics() -> [Diagnostic] {
        let values = ProxyConfigValues(json: object.json["spec"] ?? .object([:]))
        return values.ignored.map {
            Diagnostic(
                .proxyConfigFieldWithoutEffect, kind: "ProxyConfig", object: key, field: "spec.\($0.field)",
                message: $0.message)
        }
    }
}

extension MeshModel {
    /// What the proxy of a workload is started with: the mesh's `defaultConfig`, then the ProxyConfig of the root
    /// namespace, of the own namespace, of the workload, then the pod's annotation `proxy.istio.io/config`.
    ///
    /// It counts when a pod is made: a running proxy keeps what it was started with, as with Istio.
    public func proxyConfig(namespace: String, labels: [String: String], annotation: String? = nil) -> ProxyConfigValues
    {
        var levels: [Int: ProxyConfigValues] = [:]
        for object in objects.inOrder(.proxyConfig) {
            let selector = KubernetesObject(json: object.spec["selector"] ?? .object([:])).map("matchLabels")
            let level: Int
            if !selector.isEmpty {
                guard object.namespace == namespace, selector.allSatisfy({ labels[$0.key] == $0.value }) else {
                    continue
                }
                level = 2
            } else if object.namespace == namespace {
                level = 1
            } else if object.namespace == Mesh.rootNamespace {
                level = 0
            } else {
                continue
            }
            if levels[level] == nil { levels[level] = ProxyConfigValues(json: object.json["spec"] ?? .object([:])) }
        }
        var result = config.defaultProxyConfig
        for level in levels.keys.sorted() { if let values = levels[level] { result.override(with: values) } }
        if let annotation, let json = (try? YAML.parse(annotation, file: "proxy.istio.io/config"))?.first?.json {
            result.override(with: ProxyConfigValues(json: json))
        }
        return result
    }
}

extension ProxyConfigValues {
    /// What the other says stands instead.
    mutating func override(with other: ProxyConfigValues) {
        concurrency = other.concurrency ?? concurrency
        isOnDemand = other.isOnDemand ?? isOnDemand
        traceSampling = other.traceSampling ?? traceSampling
        traceTags = other.traceTags ?? traceTags
        ignored += other.ignored
    }
}
