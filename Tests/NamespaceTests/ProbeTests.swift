import IO
import Testing

@testable import Network

@Suite("Probes of the host past the sidecar", .serialized)
struct ProbeTests {
    /// A pod with a sidecar ("in" is what it captures), a peer, and the host's network.
    private func withPods(
        _ letsHostProbe: Bool,
        _ body: @escaping @Sendable (TestHost, NetworkNamespace, NetworkNamespace) throws -> Void
    ) throws {
        try nsTest { host in
            var configuration = try host.configuration()
            configuration.letsHostProbe = letsHostProbe
            let network = try HostNetwork.setUp(configuration)
            let pod = try attach(network, 5, capture: CaptureOptions())
            let peer = try attach(network, 6)
            for any in ["0.0.0.0", "[::]"] {
                try host.serve("app", in: pod, on: "\(any):80")
                try host.serve("in", in: pod, on: "\(any):15006")
            }
            var service = ServicePort(
                service: "d/web", name: "http", addresses: [try ip("10.96.0.9"), try ip("fd00:96::9")], port: 80,
                endpoints: [.init(try ip("10.244.0.5"), 80), .init(try ip("fd00:244::5"), 80)])
            service.local = Set(service.endpoints)
            try network.apply(services: [service])
            try body(host, pod, peer)
        }
    }

    @Test(
        "only what the host's root sends straight to a pod goes past its sidecar, and only where it is asked for",
        arguments: [false, true])
    func host(letsHostProbe: Bool) throws {
        try withPods(letsHostProbe) { host, _, peer in
            for (own, service) in [("10.244.0.5", "10.96.0.9"), ("[fd00:244::5]", "[fd00:96::9]")] {
                func label(_ address: String, _ from: NetworkNamespace, user: UInt32) throws -> String {
                    String(try ask("\(address):80", from: from, user: user).prefix { $0 != " " })
                }
                try requireEqual(
                    try label(own, host.namespace, user: 0), letsHostProbe ? "app" : "in", "root to \(own)")
                try requireEqual(try label(own, host.namespace, user: 1000), "in", "another user to \(own)")
                try requireEqual(try label(service, host.namespace, user: 0), "in", "root to \(service)")
                try requireEqual(try label(own, peer, user: 0), "in", "root of another pod to \(own)")
            }
            guard letsHostProbe else { return }
            try requireEqual(
                try ask("10.244.0.5:80", from: host.namespace, user: 0), "app 10.244.0.5:80 169.254.7.127", "the source"
            )
            try requireEqual(
                try ask("[fd00:244::5]:80", from: host.namespace, user: 0),
                "app [fd00:244::5]:80 fd16:9254:7127:1337:ffff:ffff:ffff:ffff", "the source")
        }
    }

    @Test("ATK-33 whoever else bears a probe's source is dropped: a pod, and who is outside")
    func forged() throws {
        try withPods(true) { host, _, peer in
            for (namespace, who) in [(peer, "a pod"), (host.outside, "outside")] {
                try namespace.run(catching: { () throws(NetworkError) in
                    let routes = try RouteSocket()
                    for source in CaptureOptions.probeSources {
                        try routes.addAddress(source, length: source.bitCount, to: 1)
                    }
                    guard who == "outside" else { return }
                    guard let device = try routes.link("eth0")?.index, let v4 = IPAddress("192.0.2.2"),
                        let v6 = IPAddress("2001:db8::2"), let pods = Prefix("10.244.0.0/16"),
                        let pods6 = Prefix("fd00:244::/48")
                    else { throw .invalid("no uplink") }
                    try routes.addRoute(to: pods, via: v4, device: device)
                    try routes.addRoute(to: pods6, via: v6, device: device)
                }).get()
                for (own, source) in [
                    ("10.244.0.5", "169.254.7.127"), ("[fd00:244::5]", "[fd16:9254:7127:1337:ffff:ffff:ffff:ffff]"),
                ] {
                    let answer = try ask("\(own):80", from: namespace, source: "\(source):0", timeoutMilliseconds: 1000)
                    try requireEqual(answer, "timeout", "\(who) to \(own) from \(source)")
                }
            }
            let rules = try NFTables.output(of: "list table inet skein_filter")
            let dropped = rules.split(separator: "\n").filter { $0.contains("a probe's source") }
            try requireEqual(dropped.count, 2, "rules")
            try require(dropped.allSatisfy { !$0.contains("packets 0 ") }, "\(dropped)")
        }
    }
}
