public import Serialization

/// Amounts of resources by their names, as quotas and ranges count them.
public struct ResourceUse: Sendable, Hashable {
    /// The amounts.
    public var amounts: [String: Quantity] = [:]
    /// The resources whose amounts were told in powers of 1024.
    public var binary: Set<String> = []

    /// Nothing.
    public init() {}

    /// From a map of quantities.
    public init(json: JSON?) {
        for (name, value) in json?.object ?? [:] { add(name, value.string ?? value.text) }
    }

    /// Adds an amount in text; what is none is left out: validation has refused it.
    public mutating func add(_ name: String, _ text: String) {
        guard let amount = Quantity(text) else { return }
        add(name, amount, isBinary: Quantity.isBinary(text))
    }

    /// Adds an amount.
    public mutating func add(_ name: String, _ amount: Quantity, isBinary: Bool = false) {
        amounts[name] = (amounts[name] ?? Quantity(milli: 0)) + amount
        if isBinary { binary.insert(name) }
    }

    /// Adds all amounts.
    public mutating func add(_ other: ResourceUse) {
        for (name, amount) in other.amounts { add(name, amount, isBinary: other.binary.contains(name)) }
    }

    /// Keeps the larger one of each amount.
    public mutating func raise(to other: ResourceUse) {
        for (name, amount) in other.amounts where amounts[name].map({ $0 < amount }) ?? true {
            amounts[name] = amount
            if other.binary.contains(name) { binary.insert(name) }
        }
    }

    /// One amount as text; nil when there is none.
    public func text(_ name: String) -> String? { amounts[name]?.text(isBinary: binary.contains(name)) }

    /// `cpu=1,memory=64Mi`.
    public func text(_ names: [String]) -> String {
        names.sorted().map { "\($0)=\(text($0) ?? "0")" }.joined(separator: ",")
    }

    /// What the containers of a pod ask for, or are limited to: all that run at once, or the largest of those that run before them.
    ///
    /// - Parameter field: `requests` or `limits`.
    public init(of pod: PodSpec, _ field: String) {
        func told(_ container: Container) -> ResourceUse { ResourceUse(json: container.json["resources"]?[field]) }
        for container in pod.containers { add(told(container)) }
        var (beside, most) = (ResourceUse(), ResourceUse())
        for container in pod.initContainers {
            if container.json["restartPolicy"] == "Always" {
                beside.add(told(container))
                add(told(container))
                most.raise(to: beside)
            } else {
                var own = told(container)
                own.add(beside)
                most.raise(to: own)
            }
        }
        raise(to: most)
        add(ResourceUse(json: pod.json["overhead"]))
    }
}
