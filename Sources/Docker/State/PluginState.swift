internal import CNI
internal import IO
internal import Serialization

/// Everything the plugin knows; changed by records only, which are also what is written down.
struct PluginState: Hashable, Sendable {
    private(set) var networks: [String: DockerNetwork] = [:]
    private(set) var endpoints: [String: DockerEndpoint] = [:]
    private(set) var pools: [String: AddressPool] = [:]

    /// One change.
    enum Record: Hashable, Sendable {
        case network(DockerNetwork)
        case noNetwork(String)
        case endpoint(DockerEndpoint)
        case noEndpoint(String)
        /// A pool begins, with nothing held.
        case pool(String)
        case noPool(String)
        case take(pool: String, IPAddress)
        /// The address belongs to the network itself.
        case reserve(pool: String, IPAddress)
        case release(pool: String, IPAddress)

        /// Whether it must outlive a crash of the machine: containers do not, networks do.
        var isLasting: Bool {
            switch self {
            case .network, .noNetwork, .pool, .noPool, .reserve: true
            case .endpoint, .noEndpoint, .take, .release: false
            }
        }
    }

    /// Applies a change; one that says what is so already changes nothing.
    mutating func apply(_ record: Record) {
        switch record {
        case .network(let network): networks[network.id] = network
        case .noNetwork(let id): networks[id] = nil
        case .endpoint(let endpoint): endpoints[endpoint.id] = endpoint
        case .noEndpoint(let id): endpoints[id] = nil
        case .pool(let id): if pools[id] == nil { pools[id] = AddressPool(id: id) }
        case .noPool(let id): pools[id] = nil
        case .take(let pool, let address):
            if let place = pools[pool]?.place(of: address) { pools[pool]?.take(place) }
        case .reserve(let pool, let address):
            if let place = pools[pool]?.place(of: address) { pools[pool]?.reserve(place) }
        case .release(let pool, let address):
            if let place = pools[pool]?.place(of: address) { pools[pool]?.release(place) }
        }
    }

    /// The containers on a network.
    func endpoints(of network: String) -> [DockerEndpoint] { endpoints.values.filter { $0.network == network } }

    /// What makes this state out of nothing, in an order that is always the same.
    var records: [Record] {
        var result: [Record] = []
        for (id, pool) in pools.sorted(by: { $0.key < $1.key }) {
            result.append(.pool(id))
            result += pool.taken.sorted().map { .take(pool: id, pool.address($0)) }
            result += pool.reserved.sorted().map { .reserve(pool: id, pool.address($0)) }
        }
        result += networks.values.sorted { $0.id < $1.id }.map { .network($0) }
        result += endpoints.values.sorted { $0.id < $1.id }.map { .endpoint($0) }
        return result
    }
}

extension PluginState.Record {
    var json: JSON {
        switch self {
        case .network(let network): ["network": network.json]
        case .noNetwork(let id): ["noNetwork": .string(id)]
        case .endpoint(let endpoint): ["endpoint": endpoint.json]
        case .noEndpoint(let id): ["noEndpoint": .string(id)]
        case .pool(let id): ["pool": .string(id)]
        case .noPool(let id): ["noPool": .string(id)]
        case .take(let pool, let address): ["take": .string(address.description), "from": .string(pool)]
        case .reserve(let pool, let address): ["reserve": .string(address.description), "in": .string(pool)]
        case .release(let pool, let address): ["release": .string(address.description), "to": .string(pool)]
        }
    }

    /// Reads what `json` has written; nil when it is something else.
    init?(_ json: JSON) {
        if let item = json["network"] {
            guard let network = DockerNetwork(item) else { return nil }
            self = .network(network)
        } else if let item = json["endpoint"] {
            guard let endpoint = DockerEndpoint(item) else { return nil }
            self = .endpoint(endpoint)
        } else if let id = json["noNetwork"]?.string {
            self = .noNetwork(id)
        } else if let id = json["noEndpoint"]?.string {
            self = .noEndpoint(id)
        } else if let id = json["pool"]?.string {
            guard AddressPool(id: id)?.id == id else { return nil }
            self = .pool(id)
        } else if let id = json["noPool"]?.string {
            self = .noPool(id)
        } else if let address = json["take"]?.string.flatMap({ IPAddress($0) }), let pool = json["from"]?.string {
            self = .take(pool: pool, address)
        } else if let address = json["reserve"]?.string.flatMap({ IPAddress($0) }), let pool = json["in"]?.string {
            self = .reserve(pool: pool, address)
        } else if let address = json["release"]?.string.flatMap({ IPAddress($0) }), let pool = json["to"]?.string {
            self = .release(pool: pool, address)
        } else {
            return nil
        }
    }
}
