public import Serialization

/// What the containers, pods and claims of a namespace may ask for, and what they have when they say nothing.
///
/// Pure. Source: Kubernetes' documentation, "Limit Ranges".
public struct LimitRangeSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    private var limits: [JSON] { json["limits"]?.array ?? [] }

    /// Fills in what containers of a pod do not say; what was filled in comes back in the words of the annotation.
    public func fill(_ pod: inout JSON) -> [String] {
        var told: [String] = []
        guard let item = limits.first(where: { $0["type"] == "Container" }), var spec = pod["spec"] else { return [] }
        for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
            guard let containers = spec[list]?.array else { continue }
            spec[list] = .array(
                containers.map { container in
                    var container = container
                    let name = container["name"]?.string ?? ""
                    for (field, source, what) in [
                        ("requests", "defaultRequest", "request"), ("limits", "default", "limit"),
                    ] {
                        for (resource, amount) in (item[source]?.object ?? [:]).sorted(by: { $0.key < $1.key })
                        where container["resources"]?[field]?[resource] == nil {
                            var resources = container["resources"] ?? .object([:])
                            var members = resources[field] ?? .object([:])
                            members[resource] = amount
                            resources[field] = members
                            container["resources"] = resources
                            told.append("\(resource) \(what) for \(word) \(name)")
                        }
                    }
                    return container
                })
        }
        pod["spec"] = spec
        return told
    }

    /// What breaks the range, each in the words of Kubernetes.
    public func problems(_ object: JSON, _ kind: ResourceKind) -> [String] {
        var found: [String] = []
        for item in limits {
            switch (item["type"]?.string ?? "", kind) {
            case ("Container", .pod):
                let spec = PodSpec(json: object["spec"] ?? .null)
                for container in spec.containers + spec.initContainers {
                    found += Self.problems(
                        item, "Container", ResourceUse(json: container.json["resources"]?["requests"]),
                        ResourceUse(json: container.json["resources"]?["limits"]))
                }
            case ("Pod", .pod):
                let spec = PodSpec(json: object["spec"] ?? .null)
                found += Self.problems(
                    item, "Pod", ResourceUse(of: spec, "requests"), ResourceUse(of: spec, "limits"))
            case ("PersistentVolumeClaim", .persistentVolumeClaim):
                let asked = ResourceUse(json: object["spec"]?["resources"]?["requests"])
                // A claim has no limits: what it asks for is both.
                found += Self.problems(item, "PersistentVolumeClaim", asked, nil)
            default: continue
            }
        }
        return found
    }

    private static func problems(
        _ item: JSON, _ type: String, _ asked: ResourceUse, _ most: ResourceUse?
    ) -> [String] {
        var found: [String] = []
        func each(_ name: String, _ body: (String, Quantity, String) -> Void) {
            for (resource, value) in (item[name]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
                let text = value.string ?? value.text
                if let bound = Quantity(text) { body(resource, bound, text) }
            }
        }
        each("min") { resource, bound, text in
            let words = "minimum \(resource) usage per \(type) is \(text)"
            guard let request = asked.amounts[resource] else {
                return found.append("\(words).  No request is specified")
            }
            if request < bound { found.append("\(words), but request is \(asked.text(resource) ?? "0")") }
            if let limit = most?.amounts[resource], limit < bound {
                found.append("\(words), but limit is \(most?.text(resource) ?? "0")")
            }
        }
        each("max") { resource, bound, text in
            let words = "maximum \(resource) usage per \(type) is \(text)"
            if let most {
                guard let limit = most.amounts[resource] else {
                    return found.append("\(words).  No limit is specified")
                }
                if limit > bound { found.append("\(words), but limit is \(most.text(resource) ?? "0")") }
                if let request = asked.amounts[resource], request > bound {
                    found.append("\(words), but request is \(asked.text(resource) ?? "0")")
                }
            } else {
                guard let request = asked.amounts[resource] else {
                    return found.append("\(words).  No request is specified")
                }
                if request > bound { found.append("\(words), but request is \(asked.text(resource) ?? "0")") }
            }
        }
        each("maxLimitRequestRatio") { resource, bound, text in
            let words = "\(resource) max limit to request ratio per \(type) is \(text)"
            guard let request = asked.amounts[resource], request.milli > 0 else {
                return found.append("\(words), but no request is specified or request is 0")
            }
            guard let limit = most?.amounts[resource], limit.milli > 0 else {
                return found.append("\(words), but no limit is specified or limit is 0")
            }
            let ratio = Double(limit.milli) / Double(request.milli)
            guard ratio > Double(bound.milli) / 1000 else { return }
            let scaled = Int64(exactly: (ratio * 1e6).rounded()) ?? .max
            let digits = String(String(scaled % 1_000_000 + 1_000_000).dropFirst())
            found.append("\(words), but provided ratio is \(scaled / 1_000_000).\(digits)")
        }
        return found
    }
}
