import EnvoyAPI
import KubernetesAPI
import Serialization

/// One entry of `configPatches` of an EnvoyFilter, read and checked.
struct EnvoyPatch: Sendable {
    /// Which proxies and which of their sides it is for.
    enum Context: String, Sendable {
        case any = "ANY"
        case inbound = "SIDECAR_INBOUND"
        case outbound = "SIDECAR_OUTBOUND"
        case gateway = "GATEWAY"
    }

    enum Operation: String, Sendable {
        case merge = "MERGE"
        case add = "ADD"
        case remove = "REMOVE"
        case insertBefore = "INSERT_BEFORE"
        case insertAfter = "INSERT_AFTER"
        case insertFirst = "INSERT_FIRST"
        case replace = "REPLACE"
    }

    /// What is patched, with the value.
    enum Subject: Sendable {
        case listener(Listener)
        case listenerFilter(ListenerFilter)
        case filterChain(FilterChain)
        case networkFilter(Filter)
        case httpFilter(HttpFilter)
        case routes(RouteConfiguration)
        case virtualHost(VirtualHost)
        case route(Route)
        case cluster(Cluster)
        case extensionConfig(TypedExtensionConfig)
    }

    /// Why a patch cannot be used.
    struct Refusal: Error {
        var field: String
        var message: String
        /// Whether it can never mean anything; otherwise it has no effect here.
        var isError = true
    }

    var place: Provenance
    var context: Context
    var operation: Operation
    /// Whether lists of the value stand in place of those that are there.
    var replacesLists = false
    var subject: Subject
    /// `match` as written.
    var match: KubernetesObject

    /// Reads an entry.
    init(_ json: JSON, place: Provenance) throws(Refusal) {
        self.place = place
        let match = KubernetesObject(json: json["match"] ?? .object([:]))
        self.match = match
        guard let context = Context(rawValue: match.json["context"]?.string ?? "ANY") else {
            throw Refusal(field: "match.context", message: "there are no waypoints", isError: false)
        }
        self.context = context
        if match.json["proxy"]?["proxyVersion"] != nil {
            throw Refusal(
                field: "match.proxy.proxyVersion",
                message: "no proxy has a version of Istio's: the patch has no effect",
                isError: false)
        }
        if match.json["proxy"]?["metadata"] != nil {
            throw Refusal(
                field: "match.proxy.metadata", message: "proxies have no metadata: the patch has no effect",
                isError: false)
        }
        var name = json["patch"]?["operation"]?.string ?? ""
        if name == "MERGE_AND_REPLACE_LIST" {
            name = "MERGE"
            replacesLists = true
        }
        guard let operation = Operation(rawValue: name) else {
            throw Refusal(field: "patch.operation", message: "required")
        }
        self.operation = operation
        let applyTo = json["applyTo"]?.string ?? ""
        let value = json["patch"]?["value"] ?? .object([:])
        if operation != .remove && (value.object ?? [:]).isEmpty {
            throw Refusal(field: "patch.value", message: "required")
        }
        subject = try Self.subject(applyTo, operation == .remove ? .object([:]) : GoDurations.rewritten(value))
        guard Self.operations(applyTo).contains(operation) else {
            throw Refusal(
                field: "patch.operation",
                message: "\(operation.rawValue) is not possible with \(applyTo): "
                    + Self.operations(applyTo).map(\.rawValue).joined(separator: ", "))
        }
        if match.json["listener"]?["portName"] != nil || match.json["routeConfiguration"]?["portName"] != nil {
            throw Refusal(
                field: "match", message: "portName is not supported: use portNumber", isError: false)
        }
    }

    /// The value laid over what is there.
    func merged<M: Message>(
        _ base: M, _ value: M, by merge: (M, M) throws(MessageError) -> M
    ) throws(MessageError) -> M {
        replacesLists ? try MessageMerge.replacingLists(base, value) : try merge(base, value)
    }

    private static func operations(_ applyTo: String) -> [Operation] {
        switch applyTo {
        case "NETWORK_FILTER", "HTTP_FILTER", "LISTENER_FILTER":
            [.merge, .add, .remove, .insertBefore, .insertAfter, .insertFirst, .replace]
        case "HTTP_ROUTE": [.merge, .add, .remove, .insertBefore, .insertAfter, .insertFirst]
        case "ROUTE_CONFIGURATION": [.merge]
        case "EXTENSION_CONFIG": [.add]
        case "VIRTUAL_HOST": [.merge, .add, .remove, .replace]
        default: [.merge, .add, .remove]
        }
    }

    private static func subject(_ applyTo: String, _ value: JSON) throws(Refusal) -> Subject {
        do throws(MessageError) {
            switch applyTo {
            case "LISTENER": return .listener(try Listener(json: value))
            case "LISTENER_FILTER": return .listenerFilter(try ListenerFilter(json: value))
            case "FILTER_CHAIN": return .filterChain(try FilterChain(json: value))
            case "NETWORK_FILTER": return .networkFilter(try Filter(json: value))
            case "HTTP_FILTER": return .httpFilter(try HttpFilter(json: value))
            case "ROUTE_CONFIGURATION": return .routes(try RouteConfiguration(json: value))
            case "VIRTUAL_HOST": return .virtualHost(try VirtualHost(json: value))
            case "HTTP_ROUTE": return .route(try Route(json: value))
            case "CLUSTER": return .cluster(try Cluster(json: value))
            case "EXTENSION_CONFIG": return .extensionConfig(try TypedExtensionConfig(json: value))
            default: break
            }
        } catch {
            let path = error.path.isEmpty ? "" : ".\(error.path)"
            throw Refusal(field: "patch.value\(path)", message: error.problem)
        }
        if applyTo == "BOOTSTRAP" {
            throw Refusal(
                field: "applyTo", message: "BOOTSTRAP is not possible: a proxy's bootstrap belongs to the node agent")
        }
        throw Refusal(field: "applyTo", message: "\"\(applyTo)\" is unknown")
    }
}

/// The EnvoyFilters that count for one proxy, in the order in which they are applied.
struct EnvoyPatches: Sendable {
    let patches: [EnvoyPatch]
    /// The objects that they stand in.
    let names: [NamespacedName]

    /// The patches for a workload: those of the root namespace first, by priority, then age, then name.
    init(model: MeshModel, namespace: String, labels: [String: String]) {
        let selected = Self.selected(model, namespace: namespace, labels: labels)
        names = selected.map { NamespacedName(namespace: $0.namespace, name: $0.name) }
        patches = selected.flatMap { object in
            Self.entries(object).compactMap { entry in try? EnvoyPatch(entry.json, place: entry.place) }
        }
    }

    /// Whether there is nothing to do.
    var isEmpty: Bool { patches.isEmpty }

    static func entries(_ object: KubernetesObject) -> [(json: JSON, place: Provenance)] {
        (object.spec["configPatches"]?.array ?? []).enumerated().map { index, json in
            (
                json,
                Provenance(
                    kind: "EnvoyFilter", object: NamespacedName(namespace: object.namespace, name: object.name),
                    field: "spec.configPatches[\(index)]")
            )
        }
    }

    static func labels(_ object: KubernetesObject) -> [String: String] {
        KubernetesObject(json: object.spec["workloadSelector"] ?? .object([:])).map("labels")
    }

    /// The labels on which it depends which patches a proxy gets.
    static func labelKeys(_ model: MeshModel) -> Set<String> {
        Set(model.objects(.envoyFilter).flatMap { labels($0).keys })
    }

    private static func selected(
        _ model: MeshModel, namespace: String, labels: [String: String]
    ) -> [KubernetesObject] {
        let all = model.objects(.envoyFilter).filter { object in
            (object.namespace == namespace || object.namespace == Mesh.rootNamespace)
                && object.spec["targetRefs"] == nil
                && self.labels(object).allSatisfy { labels[$0.key] == $0.value }
        }
        func order(_ object: KubernetesObject) -> (Int, Int) {
            (object.namespace == Mesh.rootNamespace ? 0 : 1, object.spec["priority"]?.int ?? 0)
        }
        return all.enumerated().sorted { left, right in
            let (a, b) = (order(left.element), order(right.element))
            return a == b ? left.offset < right.offset : a < b
        }.map(\.element)
    }
}
