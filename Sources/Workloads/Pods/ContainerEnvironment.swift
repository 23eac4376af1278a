internal import IO
public import KubernetesAPI
internal import Serialization

/// What a pod can refer to: ConfigMaps and Secrets of its namespace, and facts that only the node knows.
public protocol PodReferences {
    /// The ConfigMap of that name in that namespace.
    func configMap(_ namespace: String, _ name: String) -> KubernetesObject?
    /// The Secret of that name in that namespace.
    func secret(_ namespace: String, _ name: String) -> KubernetesObject?
}

/// What is known about a running pod besides its specification.
public struct PodFacts: Sendable, Hashable {
    /// The pod's address; empty before it has one.
    public var podIP = ""
    /// All addresses.
    public var podIPs: [String] = []
    /// The node's addresses, the preferred one first.
    public var hostIPs: [String] = []
    /// Where it finds the API.
    public var apiAddress = "10.96.0.1"
    /// The node's name.
    public var nodeName = ""

    /// Nothing known.
    public init() {}
}

/// Makes the environment of a container.
enum ContainerEnvironment {
    /// The variables of a container, the last of one name winning, in a stable order.
    static func resolve(
        _ container: ContainerManifest, of pod: PodManifest, facts: PodFacts, image: [String],
        references: some PodReferences
    ) throws(WorkloadError) -> [String] {
        var names: [String] = []
        var values: [String: String] = [:]
        func set(_ name: String, _ value: String) {
            if values.updateValue(value, forKey: name) == nil { names.append(name) }
        }
        set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        set("HOSTNAME", pod.hostname)
        for entry in image {
            let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2, !parts[0].isEmpty { set(String(parts[0]), String(parts[1])) }
        }
        if values["HOME"] == nil { set("HOME", container.uid ?? 0 == 0 ? "/root" : "/") }
        set("KUBERNETES_SERVICE_HOST", facts.apiAddress)
        set("KUBERNETES_SERVICE_PORT", "443")

        for source in container.environmentSources {
            let kind = source.isSecret ? "Secret" : "ConfigMap"
            let object =
                source.isSecret
                ? references.secret(pod.namespace, source.name) : references.configMap(pod.namespace, source.name)
            guard let object else {
                if source.isOptional { continue }
                throw .field("\(container.path).envFrom", "\(kind) \(pod.namespace)/\(source.name) does not exist")
            }
            for (key, value) in KeyedContent.texts(object).sorted(by: { $0.key < $1.key }) where isName(key) {
                set(source.prefix + key, value)
            }
        }
        for (index, entry) in container.environment.enumerated() {
            let field = "\(container.path).env[\(index)]"
            switch entry.source {
            case .value(let text): set(entry.name, expand(text, values))
            case .field(let path): set(entry.name, try PodField.value(path, pod, facts, field: field))
            case .resource(let resource, let divisor):
                set(entry.name, try limit(resource, divisor, container, field: field))
            case .configMap(let name, let key, let isOptional):
                let object = references.configMap(pod.namespace, name)
                if let value = object.flatMap({ KeyedContent.texts($0)[key] }) {
                    set(entry.name, value)
                } else if !isOptional {
                    throw .field(field, "ConfigMap \(pod.namespace)/\(name) has no key \(key)")
                }
            case .secret(let name, let key, let isOptional):
                let object = references.secret(pod.namespace, name)
                if let value = object.flatMap({ KeyedContent.texts($0)[key] }) {
                    set(entry.name, value)
                } else if !isOptional {
                    throw .field(field, "Secret \(pod.namespace)/\(name) has no key \(key)")
                }
            }
        }
        return names.map { "\($0)=\(values[$0] ?? "")" }
    }

    private static func isName(_ text: String) -> Bool {
        !text.isEmpty && !text.utf8.contains { $0 == 0x3D || $0 == 0 }
    }

    private static func limit(
        _ resource: String, _ divisor: Int, _ container: ContainerManifest, field: String
    ) throws(WorkloadError) -> String {
        let resources = container.resources
        // Rounded up; processors are divided in thousandths, bytes whole.
        func units(_ amount: Int, _ unit: Int) -> String { String(amount / unit + (amount % unit > 0 ? 1 : 0)) }
        switch resource {
        case "limits.cpu":
            return units(resources.cpuLimitMillis ?? Environment.processorCount * 1000, divisor)
        case "requests.cpu": return units(resources.cpuRequestMillis ?? 0, divisor)
        case "limits.memory":
            return units(resources.memoryLimitBytes ?? 0, divisor / 1000 + (divisor % 1000 > 0 ? 1 : 0))
        default: throw .field("\(field).valueFrom.resourceFieldRef.resource", "\(resource) is not supported")
        }
    }

    /// Replaces `$(NAME)` by earlier values; `$$` is a dollar sign, and an unknown name stays as written.
    static func expand(_ text: String, _ values: [String: String]) -> String {
        var result = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            let next = rest.index(after: dollar)
            guard next < rest.endIndex else {
                result += "$"
                return result
            }
            if rest[next] == "$" {
                result += "$"
                rest = rest[rest.index(after: next)...]
            } else if rest[next] == "(", let end = rest[next...].firstIndex(of: ")") {
                let name = String(rest[rest.index(after: next)..<end])
                result += values[name] ?? "$(\(name))"
                rest = rest[rest.index(after: end)...]
            } else {
                result += "$"
                rest = rest[next...]
            }
        }
        return result + rest
    }
}

/// The fields of a pod that `fieldRef` may name.
enum PodField {
    static func value(
        _ path: String, _ pod: PodManifest, _ facts: PodFacts, field: String
    ) throws(WorkloadError) -> String {
        switch path {
        case "metadata.name": return pod.name
        case "metadata.namespace": return pod.namespace
        case "metadata.uid": return pod.uid
        case "metadata.labels": return lines(pod.labels)
        case "metadata.annotations": return lines(pod.annotations)
        case "spec.nodeName": return facts.nodeName
        case "spec.serviceAccountName": return pod.serviceAccount
        case "status.podIP": return facts.podIP
        case "status.podIPs": return facts.podIPs.joined(separator: ",")
        case "status.hostIP": return facts.hostIPs.first ?? ""
        case "status.hostIPs": return facts.hostIPs.joined(separator: ",")
        default:
            if let key = member(path, of: "metadata.labels") { return pod.labels[key] ?? "" }
            if let key = member(path, of: "metadata.annotations") { return pod.annotations[key] ?? "" }
            throw .field("\(field).fieldPath", "\(path) is no field that a container may ask for")
        }
    }

    private static func member(_ path: String, of map: String) -> String? {
        guard path.hasPrefix(map + "['"), path.hasSuffix("']") else { return nil }
        return String(path.dropFirst(map.count + 2).dropLast(2))
    }

    private static func lines(_ map: [String: String]) -> String {
        map.sorted { $0.key < $1.key }.map { "\($0.key)=\"\($0.value)\"" }.joined(separator: "\n")
    }
}

/// The keys of a ConfigMap or Secret and what they hold.
enum KeyedContent {
    static func bytes(_ object: KubernetesObject) -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        let isSecret = object.kind == "Secret"
        for (key, value) in object.json["data"]?.object ?? [:] {
            guard let text = value.string else { continue }
            result[key] = isSecret ? Base64.decode(text) ?? [] : Array(text.utf8)
        }
        for (key, value) in object.json["binaryData"]?.object ?? [:] {
            if let text = value.string { result[key] = Base64.decode(text) ?? [] }
        }
        for (key, value) in object.json["stringData"]?.object ?? [:] {
            if let text = value.string { result[key] = Array(text.utf8) }
        }
        return result
    }

    static func texts(_ object: KubernetesObject) -> [String: String] {
        bytes(object).mapValues { String(decoding: $0, as: UTF8.self) }
    }
}
