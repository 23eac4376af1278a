import IO
import Testing

@testable import Network

@Suite("Capture in a pod")
struct CaptureTests {
    /// A pod with a sidecar's listeners, an application on port 80, and a peer pod with a server on ports 80 and 5432.
    private func withCapture(
        _ options: CaptureOptions = CaptureOptions(),
        _ body: @escaping @Sendable (TestHost, _ pod: NetworkNamespace, _ peer: NetworkNamespace) throws -> Void
    ) throws {
        try nsTest { host in
            let network = try host.setUp()
            let pod = try attach(network, 5, capture: options)
            let peer = try attach(network, 6)
            for address in ["0.0.0.0", "[::]"] {
                try host.serve("outbound", in: pod, on: "\(address):15001")
                try host.serve("inbound", in: pod, on: "\(address):15006")
                for port in [15020, 15021, 80, 22] { try host.serve("app", in: pod, on: "\(address):\(port)") }
                for port in [80, 5432] { try host.serve("peer", in: peer, on: "\(address):\(port)") }
            }
            try body(host, pod, peer)
        }
    }

    /// The address of a pod in a family, ready for a port.
    private static func pod(_ number: Int, _ isV6: Bool) -> String {
        isV6 ? "[fd00:244::\(number)]" : "10.244.0.\(number)"
    }

    @Test("sends what the application says out to 15001 and what comes in to 15006", arguments: [false, true])
    func bothWays(isV6: Bool) throws {
        try withCapture { host, pod, peer in
            let (own, other) = (CaptureTests.pod(5, isV6), CaptureTests.pod(6, isV6))
            func label(_ text: String) -> String { String(text.split(separator: " ").prefix(2).joined(separator: " ")) }
            // Out: everybody but the sidecar, root too.
            for user: UInt32 in [0, 1000] {
                try requireEqual(
                    label(try ask("\(other):80", from: pod, user: user)), "outbound \(other):80", "out, user \(user)")
            }
            try requireEqual(try ask("\(other):80", from: pod, user: 1337).prefix(5), "peer ", "out, sidecar")
            // In: from another pod and from the host.
            for (name, from) in [("pod", peer), ("host", host.namespace)] {
                try requireEqual(label(try ask("\(own):80", from: from)), "inbound \(own):80", "in, from \(name)")
                try requireEqual(
                    label(try ask("\(own):9999", from: from)), "inbound \(own):9999", "in, nobody listens, \(name)")
            }
            for port in [15020, 15021] {
                try requireEqual(try ask("\(own):\(port)", from: peer).prefix(4), "app ", "in, port \(port)")
            }
        }
    }

    @Test("leaves loopback, probes and the sidecar's way to its application alone", arguments: [false, true])
    func loopback(isV6: Bool) throws {
        try withCapture { host, pod, peer in
            let own = CaptureTests.pod(5, isV6)
            let loopback = isV6 ? "[::1]" : "127.0.0.1"
            try requireEqual(try ask("\(loopback):80", from: pod).prefix(4), "app ", "application with itself")
            try requireEqual(try ask("\(own):80", from: pod).prefix(4), "app ", "application with its own address")
            // The agent's probes are root's sockets in the pod's namespace.
            try requireEqual(try ask("\(own):80", from: pod, user: 0).prefix(4), "app ", "probe")
            try requireEqual(try ask("\(loopback):80", from: pod, user: 1337).prefix(4), "app ", "sidecar, loopback")
            try requireEqual(
                try ask("\(own):80", from: pod, user: 1337).split(separator: " ").prefix(2).joined(separator: " "),
                "inbound \(own):80", "sidecar calls its own pod")
            if !isV6 {
                try requireEqual(
                    try ask("\(own):80", from: pod, user: 1337, source: "127.0.0.6:0").suffix(10), " 127.0.0.6",
                    "sidecar to its application")
                try requireEqual(
                    try ask("\(own):80", from: pod, user: 1337, source: "127.0.0.6:0").prefix(4), "app ",
                    "sidecar to its application")
            }
        }
    }

    @Test("IPv6: the sidecar reaches its application from ::6")
    func sourceV6() throws {
        try withCapture { host, pod, peer in
            try requireEqual(
                try ask("[fd00:244::5]:80", from: pod, user: 1337, source: "[::6]:0").prefix(4), "app ", "from ::6")
        }
    }

    @Test("refuses connections to 15001 and 15006 themselves", arguments: [false, true])
    func captureports(isV6: Bool) throws {
        try withCapture { host, pod, peer in
            for port in [15001, 15006] {
                let own = CaptureTests.pod(5, isV6)
                let loopback = isV6 ? "[::1]" : "127.0.0.1"
                try requireEqual(try ask("\(own):\(port)", from: peer), "refused", "from a peer")
                for user: UInt32 in [0, 1000, 1337] {
                    try requireEqual(try ask("\(own):\(port)", from: pod, user: user), "refused", "user \(user)")
                    try requireEqual(
                        try ask("\(loopback):\(port)", from: pod, user: user), "refused", "loopback \(user)")
                }
            }
        }
    }

    @Test("leaves UDP, and with it DNS, alone")
    func datagrams() throws {
        try withCapture { host, pod, peer in
            try host.serveDatagrams("dns", in: peer, on: "10.244.0.6:53")
            let fd = try pod.run { () throws(SystemError) in
                try Socket.datagram(on: .ip(.v4(0x0af4_0005), port: 0)).release()
            }
            try requireEqual(try host.askDatagram(Socket(adopting: fd), "10.244.0.6:53"), "dns", "UDP")
        }
    }

    @Test("other ports and another user, as istio-init's -p and -u say")
    func istioInit() throws {
        let options = try CaptureOptions(istioInitArguments: ["-p", "9001", "-z", "9006", "-u", "2000"])
        try withCapture(options) { host, pod, peer in
            try host.serve("out", in: pod, on: "0.0.0.0:9001")
            try host.serve("in", in: pod, on: "0.0.0.0:9006")
            try requireEqual(try ask("10.244.0.6:80", from: pod).prefix(4), "out ", "out")
            try requireEqual(try ask("10.244.0.6:80", from: pod, user: 1337).prefix(4), "out ", "1337 is nobody here")
            try requireEqual(try ask("10.244.0.6:80", from: pod, user: 2000).prefix(5), "peer ", "the sidecar")
            try requireEqual(try ask("10.244.0.5:80", from: peer).prefix(3), "in ", "in")
            try requireEqual(try ask("10.244.0.5:9001", from: peer), "refused", "the capture port itself")
        }
    }

    @Test("honours excluded ports and ranges")
    func excluded() throws {
        let options = try CaptureOptions(annotations: [
            "traffic.sidecar.istio.io/excludeOutboundPorts": "5432",
            "traffic.sidecar.istio.io/excludeInboundPorts": "22",
            "traffic.sidecar.istio.io/excludeOutboundIPRanges": "192.0.2.0/24",
        ])
        try withCapture(options) { host, pod, peer in
            try host.serve("far", in: host.outside, on: "192.0.2.1:80")
            try requireEqual(try ask("10.244.0.6:5432", from: pod).prefix(5), "peer ", "excluded outbound port")
            try requireEqual(try ask("10.244.0.6:80", from: pod).prefix(9), "outbound ", "another port")
            try requireEqual(try ask("192.0.2.1:80", from: pod).prefix(4), "far ", "excluded range")
            try requireEqual(try ask("10.244.0.5:22", from: peer).prefix(4), "app ", "excluded inbound port")
            try requireEqual(try ask("10.244.0.5:80", from: peer).prefix(8), "inbound ", "another inbound port")
        }
    }

    @Test("honours included ports and ranges")
    func included() throws {
        let options = try CaptureOptions(annotations: [
            "traffic.sidecar.istio.io/includeOutboundIPRanges": "192.0.2.0/24",
            "traffic.sidecar.istio.io/includeOutboundPorts": "5432",
            "traffic.sidecar.istio.io/includeInboundPorts": "80",
        ])
        try withCapture(options) { host, pod, peer in
            try host.serve("far", in: host.outside, on: "192.0.2.1:80")
            try requireEqual(try ask("192.0.2.1:80", from: pod).prefix(9), "outbound ", "included range")
            try requireEqual(try ask("10.244.0.6:80", from: pod).prefix(5), "peer ", "not included")
            try requireEqual(try ask("10.244.0.6:5432", from: pod).prefix(9), "outbound ", "included port")
            try requireEqual(try ask("10.244.0.5:80", from: peer).prefix(8), "inbound ", "included inbound port")
            try requireEqual(try ask("10.244.0.5:22", from: peer).prefix(4), "app ", "inbound port not included")
        }
    }
}
