public import Telemetry

/// What the command line says: Envoy's flags.
public struct Options: Sendable {
    /// What to do with the configuration.
    public enum Mode: String, Sendable {
        /// Run it.
        case serve
        /// Check it and exit.
        case validate
        /// Check it, bind what it binds, and exit.
        case initOnly = "init_only"
    }

    /// How `/drain_listeners?graceful` and the end of the process ask connections to go.
    public enum DrainStrategy: String, Sendable {
        /// More and more responses say `connection: close` while the drain time passes.
        case gradual
        /// All do at once.
        case immediate
    }

    /// `-c`: the bootstrap file.
    public var configPath: String?
    /// `--config-yaml`: text merged over the file.
    public var configYAML: String?
    /// `--mode`.
    public var mode = Mode.serve
    /// `--concurrency`: number of loops; nil is one per processor that affinity and quota allow.
    public var concurrency: Int?
    /// `-l`.
    public var logLevel: LogLevel?
    /// `--component-log-level`.
    public var componentLogLevels: [String: LogLevel] = [:]
    /// `--log-path`: nil is standard error.
    public var logPath: String?
    /// `--log-format`.
    public var logFormat: LogFormat?
    /// `--service-cluster`: overrides `node.cluster`.
    public var serviceCluster: String?
    /// `--service-node`: overrides `node.id`.
    public var serviceNode: String?
    /// `--service-zone`: overrides `node.locality.zone`.
    public var serviceZone: String?
    /// `--drain-time-s`.
    public var drainTime: Duration = .seconds(600)
    /// `--drain-strategy`.
    public var drainStrategy = DrainStrategy.gradual
    /// `--parent-shutdown-time-s`: how long a replaced process may go on.
    public var parentShutdownTime: Duration = .seconds(900)
    /// `--restart-epoch`: above 0, this process takes over from the one before.
    public var restartEpoch: UInt32 = 0
    /// `--base-id`: processes with different ones know nothing of each other.
    public var baseID: UInt32 = 0
    /// `--disable-hot-restart`.
    public var disablesHotRestart = false
    /// Whether `--restart-epoch` or `--base-id` was given: without them nobody is waited for.
    public var enablesHotRestart = false
    /// `--admin-address-path`: file to write the admin server's address to.
    public var adminAddressPath: String?
    /// `--file-flush-interval-msec`: how long lines of access logs wait for others; nil is one second.
    public var fileFlushInterval: Duration?
    /// `--file-flush-min-size-kb`: lines that do not wait any longer; nil is 64 KiB.
    public var fileFlushBytes: Int?
    /// `--defaults envoy`: limits that the configuration leaves out are Envoy's.
    public var usesEnvoyDefaults = false
    /// `--recorder-sample`: one request in so many is recorded; 0 is none.
    public var recorderSample: UInt32 = 100
    /// `--recorder-size`: most requests that are kept; 0 is none.
    public var recorderSize = 10_000
    /// `--recorder-als-cluster`: the cluster of a gRPC access log service that gets them too.
    public var recorderCluster: String?
    /// `--version`.
    public var showsVersion = false
    /// `--help`.
    public var showsHelp = false
    /// Flags of Envoy's that were given and say nothing to us.
    public private(set) var ignored: [String] = []

    /// Most that `--recorder-size` may say.
    static let recorderSizeMax = 1_000_000

    /// Nothing set.
    public init() {}

    /// What `--help` prints.
    public static let help = """
        skein-proxy: serves Envoy v3 configuration.

        usage: skein-proxy -c FILE [options]
               skein-proxy explain -c FILE 'GET http://reviews/x' [options]   (see skein-proxy explain --help)
               skein-proxy completion bash|zsh|fish

          -c, --config-path FILE      bootstrap, YAML or JSON
              --config-yaml TEXT      YAML merged over the file
              --mode serve|validate|init_only
                                      validate: check, list ignored fields, exit
              --concurrency N         loops (default: the processors that affinity and cgroup quota allow)
              --defaults hardened|envoy
                                      limits that the file leaves out (default hardened)
          -l, --log-level LEVEL       trace, debug, info, warning, error, critical, off
              --component-log-level PART:LEVEL,…
                                      levels of single parts
              --log-path FILE         where the log goes (default standard error)
              --log-format PATTERN    %Y-%m-%d %T.%e time, %l level, %n part, %v message, %t thread, %P process
              --service-cluster NAME  overrides node.cluster
              --service-node ID       overrides node.id
              --service-zone ZONE     overrides node.locality.zone
              --drain-time-s SECONDS  how long connections may finish (default 600)
              --drain-strategy gradual|immediate
                                      whether connections are asked to go one by one or all at once (default gradual)
              --restart-epoch N       above 0: take over from the running process with N-1
              --base-id N             which processes belong together for that (default 0)
              --parent-shutdown-time-s SECONDS
                                      how long the replaced process may go on (default 900)
              --disable-hot-restart   neither take over nor be replaced
              --file-flush-interval-msec N, --file-flush-min-size-kb N
                                      when lines of access logs are written (default 1000 and 64)
              --recorder-sample N     one request in N is recorded for /recorder (default 100; 0: none)
              --recorder-size N       most requests that are kept (default 10000; 0: none)
              --recorder-als-cluster NAME
                                      the cluster of a gRPC access log service that gets them too
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
                    throw UsageError("--mode: \(text) is none of serve, validate and init_only")
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
                guard let level = LogLevel(name: text) else {
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
            case "--component-log-level": componentLogLevels = try Self.levels(try value())
            case "--log-path": logPath = try value()
            case "--log-format":
                let text = try value()
                guard let format = LogFormat(pattern: text) else {
                    throw UsageError("--log-format: \(text) has a letter that is not known")
                }
                logFormat = format
            case "--drain-strategy":
                let text = try value()
                guard let strategy = DrainStrategy(rawValue: text) else {
                    throw UsageError("--drain-strategy: \(text) is neither gradual nor immediate")
                }
                drainStrategy = strategy
            case "--parent-shutdown-time-s": parentShutdownTime = .seconds(try number())
            case "--restart-epoch":
                restartEpoch = UInt32(clamping: try number())
                enablesHotRestart = true
            case "--base-id":
                baseID = UInt32(clamping: try number())
                enablesHotRestart = true
            case "--disable-hot-restart": disablesHotRestart = true
            case "--file-flush-interval-msec": fileFlushInterval = .milliseconds(max(1, try number()))
            case "--file-flush-min-size-kb": fileFlushBytes = min(max(1, try number()), 16_384) * 1024
            case "--recorder-sample": recorderSample = UInt32(clamping: try number())
            case "--recorder-size":
                let size = try number()
                guard size <= Self.recorderSizeMax else {
                    throw UsageError("--recorder-size: \(size) is above \(Self.recorderSizeMax)")
                }
                recorderSize = size
            case "--recorder-als-cluster": recorderCluster = try value()
            case "--defaults":
                let text = try value()
                guard text == "envoy" || text == "hardened" else {
                    throw UsageError("--defaults: \(text) is neither hardened nor envoy")
                }
                usesEnvoyDefaults = text == "envoy"
            // Flags of Envoy's that say nothing to us but stand in people's start scripts.
            case "--local-address-ip-version", "--socket-path", "--socket-mode", "--base-id-path", "--stats-tag",
                "--disable-extensions":
                _ = try value()
                ignored.append(name)
            case "--allow-unknown-static-fields", "--reject-unknown-dynamic-fields", "--ignore-unknown-dynamic-fields",
                "--allow-unknown-fields", "--log-format-escaped", "--enable-fine-grain-logging", "--cpuset-threads",
                "--use-dynamic-base-id", "--enable-mutex-tracing", "--skip-hot-restart-on-no-parent",
                "--skip-hot-restart-parent-stats", "--skip-deprecated-logs", "--enable-core-dump":
                ignored.append(name)
            default: throw UsageError("unknown argument \(argument); see --help")
            }
        }
    }
}

extension Options {
    /// `upstream:debug,xds:trace`.
    static func levels(_ text: String) throws(UsageError) -> [String: LogLevel] {
        var levels: [String: LogLevel] = [:]
        for pair in text.split(separator: ",") {
            let parts = pair.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, let level = LogLevel(name: parts[1]) else {
                throw UsageError("--component-log-level: \(pair) is not PART:LEVEL")
            }
            levels[String(parts[0])] = level
        }
        return levels
    }
}

/// Wrong usage of the command line.
public struct UsageError: Error, Sendable, CustomStringConvertible {
    /// What is wrong.
    public let description: String

    init(_ description: String) { self.description = description }
}
