import IO
import Testing

@testable import Network

@Suite("Pods on a host of their own")
struct PodNetworkTests {
    @Test("pods reach each other, the host and the outside, in both families")
    func reach() throws {
        try nsTest { host in
            let network = try host.setUp()
            let a = try attach(network, 5)
            let b = try attach(network, 6)
            try host.serve("b", in: b, on: "10.244.0.6:80")
            try host.serve("b6", in: b, on: "[fd00:244::6]:80")
            try host.serve("host", in: host.namespace, on: "10.244.0.1:53")
            try host.serve("far", in: host.outside, on: "192.0.2.1:80")
            try host.serve("far6", in: host.outside, on: "[2001:db8::1]:80")
            try requireEqual(try ask("10.244.0.6:80", from: a), "b - 10.244.0.5", "pod to pod")
            try requireEqual(try ask("[fd00:244::6]:80", from: a), "b6 - fd00:244::5", "pod to pod, IPv6")
            try requireEqual(try ask("10.244.0.6:80", from: host.namespace), "b - 10.244.0.1", "host to pod (N-5)")
            try requireEqual(
                try ask("10.244.0.1:53", from: a), "host 10.244.0.1:53 10.244.0.5", "pod to gateway address")
            try requireEqual(try ask("192.0.2.1:80", from: a), "far - 192.0.2.2", "pod to outside, masqueraded")
            try requireEqual(try ask("[2001:db8::1]:80", from: a), "far6 - 2001:db8::2", "the same, IPv6")
        }
    }

    @Test("a pod cannot speak with another's address, and the outside cannot open connections to pods")
    func isolation() throws {
        try nsTest { host in
            let network = try host.setUp()
            let a = try attach(network, 5)
            let b = try attach(network, 6)
            try host.serve("b", in: b, on: "10.244.0.6:80")
            try a.run(catching: { () throws(NetworkError) in
                let routes = try RouteSocket()
                guard let device = try routes.link("eth0")?.index else { return }
                try routes.addAddress(.v4(0x0af4_0009), length: 32, to: device)
            }).get()
            try requireEqual(
                try ask("10.244.0.6:80", from: a, source: "10.244.0.9:0", timeoutMilliseconds: 300), "timeout",
                "forged source")
            // No answer would come back anyway; the counter says that it never arrived.
            let counters = try NFTables.output(of: "list chain inet skein_filter source").split(separator: "\n")
            try require(
                counters.contains { $0.contains("forged source") && !$0.contains("packets 0 ") }, "\(counters)")
            try host.outside.run(catching: { () throws(NetworkError) in
                let routes = try RouteSocket()
                guard let device = try routes.link("eth0")?.index, let pool = Prefix("10.244.0.0/16") else { return }
                try routes.addRoute(to: pool, via: IPAddress("192.0.2.2"), device: device)
            }).get()
            try requireEqual(
                try ask("10.244.0.6:80", from: host.outside, timeoutMilliseconds: 300), "timeout", "from outside")
        }
    }

    @Test("attaching twice is refused, detaching twice is not, and check says what is missing")
    func lifeCycle() throws {
        try nsTest { host in
            let network = try host.setUp()
            let pod = try attachment(5)
            _ = try network.attach(pod)
            try requireEqual(try network.check(attached: pod), [], "check")
            do throws(NetworkError) {
                _ = try network.attach(pod)
                throw NetworkError.invalid("attached twice")
            } catch {
                try require(error.description.contains("file exists"), "second attach: \(error)")
            }
            try requireEqual(try network.check(attached: pod), [], "the first is unharmed")
            try network.detach(uid: pod.uid)
            try network.detach(uid: pod.uid)
            try require(try network.check(attached: pod).contains("the namespace is gone"), "check after detach")
            _ = try network.attach(pod)
        }
    }

    @Test("another process takes over what was left, and tear-down leaves nothing and puts settings back")
    func tearDown() throws {
        try nsTest { host in
            let before = try Snapshot(host)
            let first = try host.setUp()
            let a = try attach(first, 5)
            let b = try attach(first, 6)
            try host.serve("b", in: b, on: "10.244.0.6:80")
            let second = try host.setUp()
            try requireEqual(try ask("10.244.0.6:80", from: a), "b - 10.244.0.5", "after the take-over")
            try requireEqual(try second.attachedPods().count, 2, "pods that are there")
            let found = try NetworkInventory.find(runDirectory: host.runDirectory)
            try require(found.links.count == 3 && found.tables.count == 3, "found \(found)")
            try require(try Snapshot(host) != before, "nothing changed")
            try NFTables.run("add table inet others; add table ip skein_not_ours")
            try NetworkInventory.tearDown(runDirectory: host.runDirectory)
            try NetworkInventory.tearDown(runDirectory: host.runDirectory)
            try require(try NetworkInventory.find(runDirectory: host.runDirectory).isEmpty, "something is left")
            var after = try Snapshot(host)
            try require(after.tables.contains("others"), "a foreign table is gone")
            after.tables.removeAll { ["others", "skein_not_ours"].contains($0) }
            try requireEqual(after, before, "after tear-down")
        }
    }

    @Test(
        "a pool that overlaps a route or an address of the host is refused by name",
        arguments: [
            ("192.0.0.0/16", "overlaps the address 192.0.2.2/24 of device eth0"),
            ("192.0.2.128/25", "overlaps the route to 192.0.2.0/24 through device eth0"),
        ])
    func overlap(pool: String, words: String) throws {
        try nsTest { host in
            var configuration = try host.configuration()
            configuration.v4.pool = try range(pool)
            configuration.v4.nodeBlock = try range(pool)
            configuration.v4.gateway = configuration.v4.nodeBlock.address
            let before = try Snapshot(host)
            do throws(NetworkError) {
                _ = try HostNetwork.setUp(configuration)
                throw NetworkError.invalid("accepted")
            } catch {
                try require(error.description.contains(words), "\(error)")
            }
            try requireEqual(try Snapshot(host), before, "after the refusal")
        }
    }

    @Test("a pod half made by a process that was killed is found, detached and removed")
    func halfMade() throws {
        try nsTest { host in
            let before = try Snapshot(host)
            let network = try host.setUp()
            // Killed before the mount, and killed before the addresses.
            let (early, late) = (try attachment(5), try attachment(6))
            let namespace = try NetworkNamespace.create(
                named: late.uid, in: network.configuration.namespaceDirectory)
            try File.write("\(host.runDirectory)/netns/\(early.uid)", [])
            try network.routes.addVirtualPair(
                Ownership.linkName(uid: late.uid), hardware: Ownership.hostHardware, group: Ownership.podGroup,
                mtu: 1400, peer: "eth0", peerHardware: Ownership.hardware(of: late.address),
                peerNamespace: namespace.fd)
            try requireEqual(try network.attachedPods().count, 2, "found")
            try require(!(try network.check(attached: late).isEmpty), "half a pod is whole")
            try network.detach(uid: early.uid)
            _ = try network.attach(early)
            try NetworkInventory.tearDown(runDirectory: host.runDirectory)
            try requireEqual(try Snapshot(host), before, "after tear-down")
        }
    }

    @Test("N-14 the pod's MTU is the uplink's; a foreign chain that drops what is forwarded is reported")
    func surroundings() throws {
        try nsTest { host in
            try NFTables.run(
                "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"
            )
            let network = try host.setUp()
            try requireEqual(network.mtu, 1400, "MTU")
            let pod = try attach(network, 5)
            let mtu = try pod.run { () throws(SystemError) in try File.text("/proc/self/net/dev") }
            try require(mtu.contains("eth0"), "no eth0 in \(mtu)")
            let link = try pod.run(catching: { () throws(NetworkError) in try RouteSocket().link("eth0")?.mtu }).get()
            try requireEqual(link, 1400, "MTU in the pod")
            try requireEqual(network.warnings.count, 1, "warnings")
            try require(network.warnings[0].contains("FORWARD"), network.warnings[0])
        }
    }

    @Test("IPv4 alone works, with capture, and pods attach from several threads at once")
    func parallel() throws {
        try nsTest { host in
            var configuration = try host.configuration()
            configuration.v6 = nil
            let network = try HostNetwork.setUp(configuration)
            let finished = Semaphore()
            for thread in 0..<4 {
                try Thread.start(name: "attach") {
                    for number in 0..<5 {
                        var pod = try? attachment(10 + thread * 5 + number, capture: CaptureOptions())
                        pod?.address6 = nil
                        _ = try? pod.map { pod throws(NetworkError) in try network.attach(pod) }
                    }
                    finished.signal()
                }
            }
            for _ in 0..<4 { finished.wait() }
            try requireEqual(try network.attachedPods().count, 20, "pods")
            for number in 10..<30 {
                var pod = try attachment(number, capture: CaptureOptions())
                pod.address6 = nil
                try requireEqual(try network.check(attached: pod), [], "pod \(number)")
            }
        }
    }

    @Test("attaching a pod takes milliseconds (printed, not judged)")
    func speed() throws {
        try nsTest { host in
            let network = try host.setUp()
            var times: [Duration] = []
            for number in 10..<40 {
                let pod = try attachment(number)
                times.append(try ContinuousClock().measure { _ = try network.attach(pod) })
            }
            times.sort()
            print("attach: median \(times[times.count / 2]), longest \(times[times.count - 1])")
        }
    }
}

/// What a test must leave as it was.
struct Snapshot: Equatable {
    var links: [String]
    var tables: [String]
    var routes: [String]
    var mounts: [String]
    var settings: [String]

    init(_ host: TestHost) throws {
        let socket = try RouteSocket()
        links = try socket.links().map(\.name)
        tables = try NFTables.tables().map(\.name)
        // The kernel adds its own (protocol 2) when it pleases.
        routes = try socket.routes().filter { $0.origin != 2 }.map { "\($0)" }
        mounts = try File.text("/proc/self/mountinfo").split(separator: "\n").map(String.init)
            .filter { $0.contains(host.runDirectory) }
        let paths = ["ipv4/ip_forward", "ipv4/conf/eth0/forwarding", "ipv6/conf/eth0/force_forwarding"]
        settings = try paths.map { try KernelSettings.read($0) }
    }
}

/// A pod with the addresses of that number.
func attachment(_ number: Int, capture: CaptureOptions? = nil) throws -> PodAttachment {
    let digits = String(number, radix: 16)
    let uid = "\(String(repeating: "0", count: 8 - digits.count))\(digits)-0000-4000-8000-000000000000"
    return PodAttachment(
        uid: uid, name: "test/pod-\(number)", address: try ip("10.244.0.\(number)"),
        address6: try ip("fd00:244::\(digits)"), capture: capture)
}

func attach(_ network: HostNetwork, _ number: Int, capture: CaptureOptions? = nil) throws -> NetworkNamespace {
    try network.attach(try attachment(number, capture: capture))
}
