import EnvoyAPI
import HTTP
import IO
import Serialization
import TLS
import XDS

/// All simulated proxies of this process, and what is said about them.
///
/// Belongs to one loop.
final class Crowd: @unchecked Sendable {
    /// How many connect at once.
    private static let connecting = 50

    let options: BenchOptions
    let loop: EventLoop
    let context: TLSContext
    /// Of all connections.
    let memory = HTTP2Memory()
    private var proxies: [SimulatedProxy] = []
    private var missing: [Int] = []
    private var incomplete = 0
    private var hasSaidReady = false
    private var failures = 0
    /// What came since the last report, by resource and version.
    private var news: [String: (name: String, count: Int, last: MonotonicTime)] = [:]

    init(_ options: BenchOptions, on loop: EventLoop) throws {
        self.options = options
        self.loop = loop
        var configuration = TLSConfiguration()
        configuration.trust = try Certificate.all(pem: try File.read(options.authority))
        configuration.certificateChain = try Certificate.all(pem: try File.read(options.certificate))
        configuration.privateKey = try PrivateKey(pem: try File.read(options.key))
        configuration.applicationProtocols = ["h2"]
        context = try TLSContext(configuration, role: .client)
        var state = options.seed
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(bound))
        }
        for number in 0..<options.proxies {
            var used = Set(options.uses == nil ? Array(0..<options.services) : [])
            while let wanted = options.uses, used.count < min(wanted, options.services) {
                used.insert(random(options.services))
            }
            proxies.append(SimulatedProxy(number, services: used.sorted(), self))
        }
    }

    /// The address of a simulated pod.
    static func address(_ number: Int) -> String { "10.244.\(number / 250 + 1).\(number % 250 + 1)" }

    func start() {
        missing = proxies.map(\.wanted)
        incomplete = proxies.count
        hasSaidReady = false
        begun = 0
        round += 1
        let round = round
        Task(executorPreference: loop) {
            for (index, proxy) in self.proxies.enumerated() {
                proxy.start()
                while index - self.begun > Self.connecting, round == self.round {
                    await self.loop.sleep(for: .milliseconds(2))
                }
                guard round == self.round else { return }
            }
        }
        if !isReporting { report() }
    }

    /// How many have got something since all were told to connect, and how often they were told.
    private var begun = 0
    private var round = 0
    private var isReporting = false
    private var isBeginningAnew = false

    /// The control plane is about to end: that streams break is no failure.
    func pause() { isBeginningAnew = true }

    /// All begin anew, with nothing.
    func reconnect() {
        for proxy in proxies { proxy.reset() }
        start()
    }

    func got(_ update: DeltaClient.Update, _ number: Int) {
        let now = loop.now
        let before = missing[number]
        missing[number] -= update.resources.count
        if before > 0, missing[number] <= 0 { incomplete -= 1 }
        if before == proxies[number].wanted { begun += 1 }
        guard hasSaidReady else { return }
        for resource in update.resources {
            news["\(update.typeURL) \(resource.name) \(resource.version)", default: (resource.name, 0, now)].count += 1
            news["\(update.typeURL) \(resource.name) \(resource.version)"]?.last = now
        }
    }

    func failed(_ text: String) {
        guard !isBeginningAnew else { return }
        failures += 1
        if failures < 10 { say(["failure": .string(text)]) }
    }

    /// Every tenth of a second: what came, and whether everybody has everything.
    private func report() {
        isReporting = true
        if !hasSaidReady, incomplete == 0 {
            hasSaidReady = true
            isBeginningAnew = false
            say(["ready": .integer(Int64(proxies.count)), "failures": .integer(Int64(failures))])
        }
        for (key, entry) in news {
            say([
                "got": .string(entry.name), "version": .string(String(key.split(separator: " ").last ?? "")),
                "count": .integer(Int64(entry.count)), "last": .integer(Int64(clamping: entry.last.nanoseconds)),
            ])
        }
        news = [:]
        loop.schedule(after: .milliseconds(100)) { self.report() }
    }

    /// A hash of each proxy's resources with their versions.
    func sayState() {
        let hashes = proxies.map { proxy -> JSON in
            var hash: UInt64 = 0xCBF2_9CE4_8422_2325
            let state = proxy.state
            for line in state { for byte in line.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 } }
            return .string("\(state.count) \(String(hash, radix: 16))")
        }
        say(["state": .array(hashes)])
    }
}
