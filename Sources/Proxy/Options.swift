public import Telemetry

/// What the command line says: Envoy's flags.
public struct Options: Sendable {
    /// What to do with the configuration.
    public enum Mode: String, Sendable {
        /// Run it.
        case serve
        /// Check it and exit.
        case validate
    }

    /// `-c`: the bootstrap file.
    public var configPath: String?
    /// `--config-yaml`: text merged over the file.
    public var configYAML: String?
    /// `--mode`.
    public var mode = Mode.serve
    /// `--concurrency`: number of loops; nil is one per processor.
    public var concurrency: Int?
    /// `-l`.
    public var logLevel: LogLevel?
    /// `--service-cluster`: overrides `node.cluster`.
    public var serviceCluster: String?
    /// `--service-node`: overrides `node.id`.
    public var serviceNode: String?
    /// `--service-zone`: overrides `node.locality.zone`.
    public var serviceZone: String?
    /// `--drain-time-s`.
    public var drainTime: Duration = .seconds(600)
    /// `--admin-address-path`: file to write the admin server's address to.
    public var adminAddressPath: String?
    /// `--version`.
    public var showsVersion = false
    /// `--help`.
    public var showsHelp = false

    /// Nothing set.
    public init() {}

    /// What `--help` prints.
    public static let help = """
        skein-proxy: serves Envoy v3 configuration.

        usage: skein-proxy -c FILE [options]

          -c, --config-path FILE      bootstrap, YAML or JSON
              --config-yaml TEXT      YAML merged over the file
              --mode serve|validate   validate: check, list ignored fields, exit
              --concurrency N         loops (default: one per processor)
          -l, --log-level LEVEL       trace, debug, info, warning, error, critical, off
              --service-cluster NAME  overrides node.cluster
              --service-node ID       overrides node.id
              --service-zone ZONE     overrides node.locality.zone
              --drain-time-s SECONDS  how long connections may finish at SIGTERM (default 600)
              --admin-address-path F  writes the admin server's address to F
              --version, --help

        Exit status: 0 done, 1 failed, 2 wrong usage.

        """

    /// Reads the arguments that follow the program's name.
    public init(arguments: [String]) throws(UsageError) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            var name = argument
            var inline: String?
            if argument.hasPrefix("--"), let equals = argument.firstIndex(of: "=") {
                name = String(argument[..<equals])
                inline = String(argument[argument.index(after: equals)...])
            }
            func value() throws(UsageError) -> String {
                if let inline { return inline }
                guard let next = rest.popFirst() else { throw UsageError("\(name) needs a value") }
                return next
            }
            func number() throws(UsageError) -> Int {
                let text = try value()
                guard let number = Int(text), number >= 0 else { throw UsageError("\(name): \(text) is no number") }
                return number
            }
            switch name {
            case "-c", "--config-path": configPath = try value()
            case "--config-yaml": configYAML = try value()
            case "--mode":
                let text = try value()
                guard let mode = Mode(rawValue: text) else {
                    throw UsageError("--mode: \(text) is neither serve nor validate")
                }
                self.mode = mode
            case "--concurrency":
                let count = try number()
                guard (0...1024).contains(count) else {
                    throw UsageError("--concurrency: \(count) is not in 0 to 1024")
                }
                concurrency = count == 0 ? nil : count
            case "-l", "--log-level":
                let text = try value()
                guard let level = LogLevel(name: text == "off" ? "error" : text) else {
                    throw UsageError("--log-level: \(text) is no level")
                }
                logLevel = level
            case "--service-cluster": serviceCluster = try value()
            case "--service-node": serviceNode = try value()
            case "--service-zone": serviceZone = try value()
            case "--drain-time-s": drainTime = .seconds(try number())
            case "--admin-address-path": adminAddressPath = try value()
            case "--version": showsVersion = true
            case "--help", "-h": showsHelp = true
            // Flags of Envoy's that say nothing to us but stand in people's start scripts.
            case "--parent-shutdown-time-s", "--log-format", "--component-log-level", "--local-address-ip-version",
                "--drain-strategy", "--restart-epoch", "--base-id", "--log-path":
                _ = try value()
            case "--disable-hot-restart", "--allow-unknown-static-fields", "--reject-unknown-dynamic-fields",
                "--ignore-unknown-dynamic-fields":
                break
            default: throw UsageError("unknown argument \(argument); see --help")
            }
        }
    }
}

/// Wrong usage of the command line.
public struct UsageError: Error, Sendable, CustomStringConvertible {
    /// What is wrong.
    public let description: String

    init(_ description: String) { self.description = description }
}
