public import Serialization

/// What a container's program is taken from.
public struct ContainerImage: Sendable, Hashable {
    /// Where the root file system comes from.
    public enum Root: Sendable, Hashable {
        /// The host's own programs.
        case host
        /// Directories laid over one another, topmost first.
        case layers([String])
        /// An image of a container engine, by its reference.
        case engine(String)
        /// Nothing but the proxy's program.
        case proxy
    }

    /// `config` of an OCI image: what a container does that says nothing itself.
    public struct Config: Sendable, Hashable {
        /// `Entrypoint`.
        public var entrypoint: [String] = []
        /// `Cmd`.
        public var command: [String] = []
        /// `Env`.
        public var environment: [String] = []
        /// `WorkingDir`.
        public var workingDirectory = ""
        /// `User`: name or number, optionally `:` and a group.
        public var user = ""

        /// Nothing said.
        public init() {}

        /// Reads `config` of an image configuration.
        public init(_ json: JSON) {
            func strings(_ name: String) -> [String] { (json[name]?.array ?? []).compactMap(\.string) }
            entrypoint = strings("Entrypoint")
            command = strings("Cmd")
            environment = strings("Env")
            workingDirectory = json["WorkingDir"]?.string ?? ""
            user = json["User"]?.string ?? ""
        }
    }

    /// Root file system.
    public var root: Root
    /// Defaults.
    public var config: Config

    /// The program and arguments of a container of this image (Kubernetes: `command` replaces the entry point and drops
    /// the image's arguments; `args` replaces these).
    func arguments(_ container: ContainerManifest) -> [String] {
        if !container.command.isEmpty { return container.command + container.arguments }
        return config.entrypoint + (container.arguments.isEmpty ? config.command : container.arguments)
    }
}

/// Finds users by the files of an image.
enum UserLookup {
    /// User and group for `1000`, `1000:1000`, `www-data`, `www-data:adm`.
    static func resolve(_ text: String, passwd: String, group: String) -> (uid: UInt32, gid: UInt32)? {
        guard !text.isEmpty else { return (0, 0) }
        let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
        guard let name = parts.first else { return nil }
        var uid = UInt32(name)
        var gid: UInt32?
        for line in passwd.split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count >= 4, fields[0] == name || UInt32(fields[2]) == uid && uid != nil else { continue }
            uid = UInt32(fields[2])
            gid = UInt32(fields[3])
            break
        }
        if parts.count == 2 {
            gid = UInt32(parts[1])
            for line in group.split(separator: "\n") where gid == nil {
                let fields = line.split(separator: ":", omittingEmptySubsequences: false)
                if fields.count >= 3, fields[0] == parts[1] { gid = UInt32(fields[2]) }
            }
            guard gid != nil else { return nil }
        }
        return uid.map { ($0, gid ?? 0) }
    }
}
