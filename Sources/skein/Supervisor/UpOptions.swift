internal import APIServer
internal import IO
internal import Network
internal import Store
internal import Workloads

/// What `skein up` was told.
struct UpOptions: Sendable {
    var files: [String]
    var namespace: String?
    var dataDirectory: String
    var runDirectory: String
    var isDetached: Bool
    /// Whether containers use the machine's own file system when their image is not in the store.
    var usesHostImages: Bool
    var apiAddress: SocketAddress
    var metricsAddress: SocketAddress
    /// Where the control plane's metrics go by OTLP.
    var metricsCollector: String?
    /// Memory of the built-in time series at most, in MiB.
    var insightMebibytes: Int
    /// The program that sends alerts by mail; nil for none.
    var mailProgram: String?
    /// Where proxies of other machines subscribe; nil: nowhere.
    var discoveryAddress: SocketAddress?
    var gatewayHTTP: SocketAddress
    var gatewayHTTPS: SocketAddress
    /// Addresses of pods: a range of IPv4, and one of IPv6 when they get such addresses, too.
    var podPools: [Prefix]
    var serviceRanges: ServiceRanges
    /// Where other nodes reach this machine, the preferred address first; none: there are no others.
    var nodeAddresses: [IPAddress]
    /// Whether what root of this machine sends to pods goes past their sidecars.
    var letsHostProbe: Bool
    /// How pods of other nodes are reached.
    var nodeDriver: NodeDriver
    /// Where packets of other nodes arrive encrypted; nil when they are not.
    var encryptedPort: UInt16?
    /// Further addresses and names under which the API is reached.
    var apiNames: [String]
    /// Where objects are kept.
    var store: StoreSettings
    /// How long certificates of workloads hold, in seconds.
    var certificateLifetime: Int64
    /// Watches that the API takes at once; nil: as many as descriptors allow.
    var watchesMax: Int?
    /// How programs that are no pods are registered.
    var registry: RegistryFlags
    /// What makes containers.
    var runtime: RuntimeChoice
    /// How much the logs tell.
    var logLevelName: String
    /// Set for the process that `--detach` leaves behind: where it reports its progress.
    var reportDescriptor: Int32?

    static let detach = Flag("detach", short: "d", "return when everything is ready; skein down stops it")
    static let images = Flag(
        "images", value: "host|store",
        "store: only imported images (default); host: the machine's own file system, read-only")
    static let gatewayHTTP = Flag(
        "gateway-http", value: "ADDR:PORT", "where the gateway's port 80 is reached (default 127.0.0.1:8080)")
    static let gatewayHTTPS = Flag(
        "gateway-https", value: "ADDR:PORT", "where the gateway's port 443 is reached (default 127.0.0.1:8443)")
    static let api = Flag("api", value: "ADDR:PORT", "where kubectl finds the API (default 127.0.0.1:6443)")
    static let metrics = Flag("metrics", value: "ADDR:PORT", "metrics and overview (default 127.0.0.1:9400)")
    static let metricsCollector = Flag(
        "metrics-otlp", value: "URL",
        "a collector that gets the control plane's metrics by OTLP: http://ADDR:PORT/v1/metrics (default none)")
    static let insightMemory = Flag(
        "insight-memory", value: "MIB",
        "memory of the built-in time series, 8 to 4096 (default 96); beyond it the oldest samples go early")
    static let mailProgram = Flag(
        "mail-program", value: "PATH",
        "what sends alerts by mail, called as PATH -i -t by the control plane: /usr/sbin/sendmail (default none)")
    static let discovery = Flag(
        "discovery", value: "ADDR:PORT",
        "where proxies without a node agent subscribe, with mTLS (usually :15012; default none)")
    static let certificateLifetime = Flag(
        "certificate-lifetime", value: "TIME",
        "how long certificates of workloads hold, 10s to 24h (default 24h); they are renewed at half of it")
    static let watches = Flag(
        "watches", value: "N",
        "watches that the API takes at once (default 12000, where open files allow it); more are answered 429")
    static let runtimeFlag = Flag(
        "runtime", value: "runc|docker",
        "what makes containers: runc (default), or a container engine with Docker's API")
    static let engine = Flag(
        "engine", value: "SOCKET", "the engine's socket (default /run/docker.sock, else /run/podman/podman.sock)")
    static let report = Flag("report-fd", value: "N", "used by --detach itself")
    static let logLevel = Flag("log-level", value: "LEVEL", "debug, info, warning or error (default info)")

    static let flags: [Flag] =
        [
            .files, .namespace, detach, images, runtimeFlag, engine, .dataDirectory, .runDirectory, gatewayHTTP,
            gatewayHTTPS, api, metrics, metricsCollector, mailProgram, insightMemory,
            discovery, AddressFlags.pods, AddressFlags.services, AddressFlags.balancers, NodeFlags.hostProbes,
            NodeFlags.address, NodeFlags.driver, NodeFlags.encryption, NodeFlags.wireGuardPort, NodeFlags.apiNames,
            certificateLifetime, watches, logLevel,
        ] + RegistryFlags.all + StoreFlags.all

    /// `90s`, `30m`, `12h` as seconds.
    private static func seconds(_ text: String) throws(CommandError) -> Int64 {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600]
        guard let unit = text.last.flatMap({ units[$0] }), let number = Int64(text.dropLast()),
            number > 0, number <= 86_400, (10...86_400).contains(number * unit)
        else {
            throw CommandError.usage(
                "up", "--\(certificateLifetime.name) \(text): not a time between 10s and 24h, like 12h")
        }
        return number * unit
    }

    private static func runtime(_ invocation: Invocation) throws(CommandError) -> RuntimeChoice {
        switch invocation.value(runtimeFlag) ?? "runc" {
        case "runc":
            guard !invocation.has(engine) else { throw CommandError.usage("up", "--engine needs --runtime docker") }
            return .runc
        case "docker":
            let places = ["/run/docker.sock", "/run/podman/podman.sock"]
            let path = invocation.value(engine) ?? places.first(where: File.exists) ?? places[0]
            guard path.hasPrefix("/") else { throw CommandError.usage("up", "--engine \(path): not an absolute path") }
            guard let helper = try? File.readLink("/proc/self/exe") else {
                throw CommandError("skein up: /proc/self/exe cannot be read")
            }
            return .engine(socket: path, helper: helper)
        case let other: throw CommandError.usage("up", "--runtime \(other): runc or docker")
        }
    }

    init(_ invocation: Invocation) throws(CommandError) {
        func address(_ flag: Flag, _ standard: String) throws(CommandError) -> SocketAddress {
            let text = invocation.value(flag) ?? standard
            guard let address = SocketAddress(text), address.port != nil else {
                throw CommandError.usage("up", "--\(flag.name) \(text): not an address and port, like 127.0.0.1:8080")
            }
            return address
        }
        guard invocation.operands.isEmpty else {
            throw CommandError.usage("up", "unexpected \"\(invocation.operands[0])\"; files are given with -f")
        }
        files = invocation.all(.files)
        namespace = invocation.value(.namespace)
        dataDirectory = invocation.dataDirectory
        runDirectory = invocation.runDirectory
        isDetached = invocation.has(Self.detach)
        switch invocation.value(Self.images) ?? "store" {
        case "host": usesHostImages = true
        case "store": usesHostImages = false
        case let other: throw CommandError.usage("up", "--images \(other): host or store")
        }
        runtime = try Self.runtime(invocation)
        if runtime != .runc, usesHostImages {
            throw CommandError.usage("up", "--images host does not go with --runtime docker: images are the engine's")
        }
        apiAddress = try address(Self.api, "127.0.0.1:6443")
        metricsAddress = try address(Self.metrics, "127.0.0.1:9400")
        metricsCollector = invocation.value(Self.metricsCollector)
        mailProgram = invocation.value(Self.mailProgram)
        let memory = invocation.value(Self.insightMemory) ?? "96"
        guard let number = Int(memory), (8...4096).contains(number) else {
            throw CommandError.usage("up", "--\(Self.insightMemory.name) \(memory): not a number from 8 to 4096")
        }
        insightMebibytes = number
        if let mailProgram, !mailProgram.hasPrefix("/") {
            throw CommandError.usage("up", "--\(Self.mailProgram.name) \(mailProgram): not an absolute path")
        }
        discoveryAddress = invocation.has(Self.discovery) ? try address(Self.discovery, "") : nil
        gatewayHTTP = try address(Self.gatewayHTTP, "127.0.0.1:8080")
        gatewayHTTPS = try address(Self.gatewayHTTPS, "127.0.0.1:8443")
        (podPools, serviceRanges) = try AddressFlags.ranges(invocation)
        nodeAddresses = try NodeFlags.addresses(invocation, "up")
        letsHostProbe = invocation.has(NodeFlags.hostProbes)
        nodeDriver = try NodeFlags.driver(invocation, "up")
        encryptedPort = try NodeFlags.encryptedPort(invocation, "up")
        apiNames = (invocation.value(NodeFlags.apiNames) ?? "").split(separator: ",").map(String.init)
        store = try StoreFlags.settings(invocation)
        registry = try RegistryFlags(invocation)
        certificateLifetime = try Self.seconds(invocation.value(Self.certificateLifetime) ?? "24h")
        watchesMax = try invocation.value(Self.watches).map { text throws(CommandError) in
            guard let number = Int(text), (1...1_000_000).contains(number) else {
                throw CommandError.usage("up", "--\(Self.watches.name) \(text): not a number from 1 to 1000000")
            }
            return number
        }
        logLevelName = invocation.value(Self.logLevel) ?? "info"
        reportDescriptor = invocation.value(Self.report).flatMap { Int32($0) }
    }
}
