public import IO

/// Everything of ours on a host, found without any memory of having made it: also after `kill -9`.
public struct NetworkInventory: Sendable, Hashable, CustomStringConvertible {
    /// Names of namespaces: the pods' uids.
    public var namespaces: [String] = []
    /// Network devices.
    public var links: [String] = []
    /// nftables tables.
    public var tables: [String] = []
    /// Kernel settings that are not what they were.
    public var settings: [String] = []
    /// Routes to nowhere that keep pod addresses from leaving by the default route, and those over other nodes.
    public var routes: [Prefix] = []

    /// Whether nothing is there.
    public var isEmpty: Bool {
        namespaces.isEmpty && links.isEmpty && tables.isEmpty && settings.isEmpty && routes.isEmpty
    }

    /// A list for people.
    public var description: String {
        let parts = [
            ("namespaces", namespaces), ("links", links), ("nftables tables", tables), ("settings", settings),
            ("routes", routes.map(\.description)),
        ]
        let text = parts.filter { !$0.1.isEmpty }.map { "\($0.0): \($0.1.joined(separator: ", "))" }
        return text.isEmpty ? "nothing" : text.joined(separator: "; ")
    }

    /// Looks for what is there, from the namespace of the calling thread.
    public static func find(runDirectory: String) throws(NetworkError) -> NetworkInventory {
        let socket = try RouteSocket()
        var found = NetworkInventory()
        found.namespaces = try system { () throws(SystemError) in
            try NetworkNamespace.list(in: "\(runDirectory)/netns")
        }
        found.links = try socket.links().filter(Ownership.owns).map(\.name)
        found.tables = try NFTables.tables().filter { $0.family == "inet" && $0.name.hasPrefix(Ownership.tablePrefix) }
            .map(\.name)
        found.settings = try KernelSettings(file: "\(runDirectory)/network/settings").paths()
        // Those to nowhere, and those over other nodes: neither goes with a link of ours.
        found.routes = try socket.routes().filter {
            $0.origin == Int(RouteSocket.origin) && ($0.type == 7 || $0.gateway != nil)
        }.compactMap(\.destination)
        return found
    }

    /// Removes all of it and nothing else.
    ///
    /// Goes on when something fails, and reports that at the end; may be repeated.
    ///
    /// Whatever still runs in the namespaces is cut off; end it before.
    public static func tearDown(runDirectory: String) throws(NetworkError) {
        let found = try find(runDirectory: runDirectory)
        let socket = try RouteSocket()
        var failures: [NetworkError] = []
        func attempt(_ body: () throws(NetworkError) -> Void) {
            do throws(NetworkError) { try body() } catch { failures.append(error) }
        }
        for name in found.links { attempt { () throws(NetworkError) in try socket.deleteLink(name) } }
        for route in found.routes {
            attempt { () throws(NetworkError) in try socket.deleteRoute(to: route, device: nil, type: 0) }
        }
        if !found.tables.isEmpty {
            let text = found.tables.map { "delete table inet \($0)\n" }.joined()
            attempt { () throws(NetworkError) in try NFTables.run(text) }
        }
        let directory = "\(runDirectory)/netns"
        for name in found.namespaces {
            attempt { () throws(NetworkError) in
                try system { () throws(SystemError) in try NetworkNamespace.remove(named: name, in: directory) }
            }
        }
        attempt { () throws(NetworkError) in
            try system { () throws(SystemError) in try NetworkNamespace.removeDirectory(directory) }
        }
        attempt { () throws(NetworkError) in
            try KernelSettings(file: "\(runDirectory)/network/settings").restore()
            try system { () throws(SystemError) in try File.removeTree("\(runDirectory)/network") }
        }
        if let first = failures.first { throw first }
    }
}
