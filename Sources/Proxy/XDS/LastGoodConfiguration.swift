internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry
internal import XDS

/// The configuration that was accepted last, on disk: a proxy that starts while its management server is gone serves it
/// (ARCHITECTURE decision 10).
///
/// Kept when the node's metadata says where: `LAST_GOOD_FILE`. The file (0600) holds what came over delta ADS, as one `DeltaDiscoveryResponse` for
/// each type, with a length and a checksum before them. Never in it: secrets (SDS), and any resource with a private key inside.
final class LastGoodConfiguration {
    /// The member of `node.metadata` with the path of the file.
    static let member = "LAST_GOOD_FILE"
    /// How long changes are collected before the file is written.
    static let writeDelay = Duration.seconds(1)
    /// How long the server may take for its first response before the file is used.
    static let patience = Duration.seconds(1)

    private static let log = Logger("xds")
    private static let magic = Array("skein-last-good-1\n".utf8)
    private static let privateKey = Array("PRIVATE KEY-----".utf8)

    private let path: String
    private let loop: EventLoop
    private var resources: [String: [String: Resource]] = [:]
    private var isWriting = false
    /// What the file says was asked for: clusters, virtual hosts.
    private(set) var kept: [[String]] = [[], []]
    /// Clusters and virtual hosts that requests have asked for: after a restart they are asked for again.
    var demanded: () -> (clusters: [String], hosts: [String]) = { ([], []) }
    /// The names of a type that are subscribed to: what is given up is kept no longer.
    var wanted: (String) -> Set<String>? = { _ in nil }

    /// Follows the metadata of the bootstrap's node; nil when it does not ask for it.
    init?(_ node: Node, on loop: EventLoop) {
        guard let path = node.metadata?[Self.member]?.string, path.hasPrefix("/") else { return nil }
        self.path = path
        self.loop = loop
    }

    // MARK: Keeping

    /// An update was applied, as far as `applied` says.
    func note(_ update: DeltaClient.Update, applied: [String]) {
        guard update.typeURL != Secret.typeURL else { return }
        let names = Set(applied)
        for resource in update.resources where names.contains(resource.name) {
            resources[update.typeURL, default: [:]][resource.name] = Self.isPublic(resource) ? resource : nil
        }
        for name in update.removed { resources[update.typeURL]?[name] = nil }
        guard !isWriting else { return }
        isWriting = true
        loop.schedule(after: Self.writeDelay) { [weak self] in self?.write() }
    }

    /// Whether there is no private key in it.
    static func isPublic(_ resource: Resource) -> Bool {
        guard let bytes = resource.resource?.value, bytes.count >= privateKey.count else { return true }
        var start = 0
        while let next = bytes[start...].firstIndex(of: privateKey[0]), next + privateKey.count <= bytes.count {
            if bytes[next..<(next + privateKey.count)].elementsEqual(privateKey) { return false }
            start = next + 1
        }
        return true
    }

    /// Writes what there is now; a restart meanwhile finds the old file or the new one.
    func write() {
        isWriting = false
        for type in resources.keys {
            if let wanted = wanted(type) { resources[type] = resources[type]?.filter { wanted.contains($0.key) } }
        }
        let (clusters, hosts) = demanded()
        let bytes = Self.encode(resources, demanded: [Cluster.typeURL: clusters, VirtualHost.typeURL: hosts])
        guard bytes.count <= Limits.lastGoodBytes else {
            return Self.log.warning("the configuration is too large to be kept", ["bytes": "\(bytes.count)"])
        }
        do throws(SystemError) {
            try File.write(path, bytes, mode: 0o600)
        } catch {
            Self.log.warning("the configuration cannot be kept", ["file": path, "error": error.description])
        }
    }

    // MARK: Using

    /// What the file says, in the order in which it is to be applied; empty when there is none that can be used.
    func read() -> [DeltaClient.Update] {
        guard File.exists(path) else { return [] }
        do throws(SystemError) {
            guard let found = Self.decode(try File.read(path, limit: Limits.lastGoodBytes)) else {
                Self.log.warning("the kept configuration is damaged and is not used", ["file": path])
                return []
            }
            resources = found
        } catch {
            Self.log.warning("the kept configuration cannot be read", ["file": path, "error": error.description])
        }
        kept = [Cluster.typeURL, VirtualHost.typeURL].map {
            resources[$0]?.removeValue(forKey: Self.demandedName)?.aliases ?? []
        }
        return DiscoveryOrder.sorted(resources.keys).map { type in
            let known = (resources[type] ?? [:]).values.sorted { $0.name < $1.name }
            return DeltaClient.Update(typeURL: type, resources: known, removed: [], nonce: "")
        }
    }

    // MARK: The file

    /// `demanded` are the names that requests asked for, in the place of aliases of a resource without body.
    static func encode(_ resources: [String: [String: Resource]], demanded: [String: [String]] = [:]) -> [UInt8] {
        var body: [UInt8] = []
        for (type, known) in resources.sorted(by: { $0.key < $1.key }) {
            var response = DeltaDiscoveryResponse()
            response.typeUrl = type
            response.resources = known.values.sorted { $0.name < $1.name }
            if let names = demanded[type], !names.isEmpty {
                var asked = Resource()
                asked.name = demandedName
                asked.aliases = names.sorted()
                response.resources.append(asked)
            }
            let bytes = response.serialized()
            append(UInt64(bytes.count), to: &body)
            body += bytes
        }
        var file = magic
        append(checksum(body), to: &file)
        return file + body
    }

    /// No resource has this name: it begins with a control character.
    private static let demandedName = "\u{1}demanded"

    static func decode(_ file: [UInt8]) -> [String: [String: Resource]]? {
        guard file.starts(with: magic), let sum = number(file, at: magic.count) else { return nil }
        let body = Array(file[(magic.count + 8)...])
        guard checksum(body) == sum else { return nil }
        var resources: [String: [String: Resource]] = [:]
        var index = 0
        while index < body.count {
            guard let length = number(body, at: index), length <= UInt64(body.count - index - 8) else { return nil }
            let end = index + 8 + Int(length)
            guard let response = try? DeltaDiscoveryResponse(serialized: Array(body[(index + 8)..<end])) else {
                return nil
            }
            for resource in response.resources { resources[response.typeUrl, default: [:]][resource.name] = resource }
            index = end
        }
        return resources
    }

    private static func append(_ number: UInt64, to bytes: inout [UInt8]) {
        for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
    }

    private static func number(_ bytes: [UInt8], at index: Int) -> UInt64? {
        guard index >= 0, bytes.count >= 8, index <= bytes.count - 8 else { return nil }
        return (0..<8).reduce(0) { $0 | UInt64(bytes[index + $1]) << UInt64($1 * 8) }
    }

    /// Against accidents (a full disk, a torn write), not against attackers: who can write the file is the proxy.
    private static func checksum(_ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}
